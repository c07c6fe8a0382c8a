#!/usr/bin/env python3
"""Flag statements of a PostgreSQL migration that lock or break a live table.

    python3 check_migration.py migrations/*.sql
    python3 check_migration.py --allow rename,drop-column 0042.sql

It reads SQL text, it does not know your tables: tables created in the same file are taken to be
empty. A line comment `-- check: allow RULE` before a statement silences that rule for it.
Exit codes: 0 no errors, 1 errors (or warnings with --strict), 2 a file cannot be read.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SPLIT = re.compile(
    r"""(?P<skip>--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)|(?P<end>;)""",
    re.DOTALL,
)
VOLATILE = r"gen_random_uuid|uuid_generate_v\d\w*|uuidv[47]|random|clock_timestamp|timeofday|nextval"
TABLE = r"(?:if\s+exists\s+)?(?:only\s+)?(?P<table>[\w.\"]+)"
RULES: list[tuple[str, str, str, str]] = [
    (
        "index",
        "error",
        r"create\s+(unique\s+)?index\s+(?!concurrently)",
        "blocks writes: CREATE INDEX CONCURRENTLY",
    ),
    (
        "drop-index",
        "warning",
        r"drop\s+index\s+(?!concurrently)",
        "ACCESS EXCLUSIVE: DROP INDEX CONCURRENTLY",
    ),
    ("reindex", "error", r"reindex\s+(?!.*concurrently)", "locks: REINDEX ... CONCURRENTLY"),
    ("rewrite", "error", r"vacuum\s+(\(.*\bfull\b.*\)|full)|cluster\b", "rewrites under a full lock"),
    ("volatile-default", "error", rf"add\s+(column\s+)?.*default\s+({VOLATILE})\s*\(", "rewrites the table"),
    (
        "serial",
        "error",
        r"add\s+(column\s+)?(if\s+not\s+exists\s+)?[\w\"]+\s+(big|small)?serial\b",
        "rewrites",
    ),
    (
        "not-null",
        "error",
        r"alter\s+(column\s+)?[\w\"]+\s+set\s+not\s+null",
        "scans under lock: see CHECK ... NOT VALID",
    ),
    (
        "type",
        "error",
        r"alter\s+(column\s+)?[\w\"]+\s+(set\s+data\s+)?type\b",
        "may rewrite the table: new column",
    ),
    (
        "constraint",
        "error",
        r"add\s+.*(foreign\s+key|check\s*\()(?!.*not\s+valid)",
        "validates under lock: NOT VALID",
    ),
    (
        "inline-fk",
        "error",
        r"add\s+(column\s+)?(?!constraint)[\w\"]+\s+\w+.*\breferences\b(?!.*not\s+valid)",
        "foreign key validates now",
    ),
    (
        "unique",
        "error",
        r"add\s+.*(primary\s+key|unique)\b(?!.*using\s+index)",
        "builds an index under lock: USING INDEX",
    ),
    ("rename", "error", r"\brename\b", "the running version still uses the old name"),
    ("drop-column", "error", r"drop\s+column", "make sure no running version selects it"),
    ("drop-table", "error", r"(drop|truncate)\s+table|truncate\b", "cannot be undone"),
    ("lock", "error", r"lock\s+(table\s+)?[\w.\"]+", "explicit lock"),
    (
        "mass-write",
        "error",
        r"(update\s+(?!.*\bwhere\b)|delete\s+from\s+(?!.*\bwhere\b))",
        "touches every row: batch it",
    ),
]


@dataclass(frozen=True)
class Statement:
    """One statement: its first line (1-based), its text without comments and literals, its allowances."""

    line: int
    text: str
    allowed: frozenset[str]


def statements(sql: str) -> Iterator[Statement]:
    """Split at semicolons outside quotes, comments and dollar quotes."""
    begin, parts, allowed, position = 0, [], set(), 0
    for match in [*SPLIT.finditer(sql), None]:
        stop = match.start() if match else len(sql)
        parts.append(sql[position:stop])
        if match and match.group("skip"):
            skipped = match.group("skip")
            if found := re.match(r"--\s*check:\s*allow\s+([\w, -]+)", skipped):
                allowed |= set(re.split(r"[,\s]+", found.group(1).strip()))
            keep = skipped if skipped.startswith('"') else "''" if skipped[0] in "'$" else " "
            parts.append(keep + "\n" * skipped.count("\n"))
        if match is None or match.group("end"):
            text = "".join(parts)
            blank = len(text) - len(text.lstrip())
            if text.strip():
                line = sql.count("\n", 0, begin) + text.count("\n", 0, blank) + 1
                yield Statement(line, " ".join(text.lower().split()), frozenset(allowed))
            begin, parts, allowed = stop + 1, [], set()
        position = match.end() if match else stop


def target(text: str) -> str | None:
    """The table that a statement changes."""
    shapes = (rf"alter\s+table\s+{TABLE}", r"\bindex\b.*?\bon\s+(?:only\s+)?(?P<table>[\w.\"]+)")
    for shape in shapes:
        if found := re.match(shape, text) or (re.search(shape, text) if "index" in shape else None):
            return found.group("table").strip('"')
    return None


def check(sql: str) -> Iterator[tuple[int, str, str, str]]:
    """Findings as (line, level, rule, message)."""
    created: set[str] = set()
    in_transaction, limited = False, False
    for statement in statements(sql):
        text = statement.text
        if re.match(r"set\s+(local\s+|session\s+)?lock_timeout", text):
            limited = True
        elif re.match(r"begin|start\s+transaction", text):
            in_transaction = True
        elif re.match(r"commit|end|rollback", text):
            in_transaction = False
        if found := re.match(r"create\s+(?:unlogged\s+)?table\s+(?:if\s+not\s+exists\s+)?([\w.\"]+)", text):
            created.add(found.group(1).strip('"'))
            continue
        if in_transaction and "concurrently" in text:
            yield statement.line, "error", "transaction", "CONCURRENTLY cannot run inside BEGIN"
        fresh = target(text) in created
        risky = re.match(r"alter\s+table|create\s+(unique\s+)?index|drop|truncate", text) and not fresh
        if risky and not limited and "lock-timeout" not in statement.allowed:
            yield statement.line, "warning", "lock-timeout", "no SET lock_timeout before it"
            limited = True
        yield from ((statement.line, *found) for found in broken(text, statement.allowed) if not fresh)


def broken(text: str, allowed: frozenset[str]) -> Iterator[tuple[str, str, str]]:
    for rule, level, pattern, message in RULES:
        inside = rf"alter\s+table\s+.*?\b({pattern})"
        starts = re.match(pattern, text)
        alters = text.startswith("alter table") and re.match(inside, text)
        if (starts or alters) and rule not in allowed:
            yield level, rule, message


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--allow", default="", help="rules to leave out, joined by commas")
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")
    arguments = parser.parse_args()
    known = {rule for rule, *_ in RULES} | {"lock-timeout", "transaction"}
    allowed = {word for word in arguments.allow.split(",") if word}
    if unknown := allowed - known:
        parser.error(f"unknown rule {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
    failed = False
    for path in arguments.files:
        try:
            findings = list(check(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            print(f"check_migration: {path}: {error}", file=sys.stderr)
            return 2
        for line, level, rule, message in findings:
            if rule not in allowed:
                print(f"{path}:{line}: {level}: {rule}: {message}")
                failed |= level == "error" or arguments.strict
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
