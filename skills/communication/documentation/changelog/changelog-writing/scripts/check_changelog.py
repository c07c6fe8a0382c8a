#!/usr/bin/env python3
"""Check the form of a CHANGELOG.md in the Keep a Changelog style.

    python3 check_changelog.py CHANGELOG.md --expect 3.0.0

Exit codes: 0 in order, 1 findings (one per line: `file:line: message`), 2 the file cannot be used.
"""

import argparse
import datetime as dt
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

GROUPS = ("Removed", "Changed", "Deprecated", "Added", "Fixed", "Security")
VERSION = re.compile(r"## \[(?P<name>[^\]]+)\](?: - (?P<date>\S+))?(?P<yanked> \[YANKED\])?\s*$")
SEMVER = re.compile(r"(\d+)\.(\d+)\.(\d+)(-[0-9A-Za-z.-]+)?")


@dataclass
class Release:
    """One `##` block: heading line (1-based), name, date, and line numbers by group."""

    line: int
    name: str
    date: str | None
    groups: list[tuple[int, str, list[tuple[int, str]]]] = field(default_factory=list)

    @property
    def number(self) -> tuple[int, int, int] | None:
        found = SEMVER.fullmatch(self.name)
        return (int(found[1]), int(found[2]), int(found[3])) if found else None

    @property
    def order(self) -> tuple:
        """Sorts as releases do: a pre-release comes before its release."""
        found = SEMVER.fullmatch(self.name)
        suffix = found[4] if found else None
        parts = [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in (suffix or "-")[1:].split(".")]
        return (*(self.number or (0, 0, 0)), suffix is None, parts)


def parse(text: str) -> Iterator[Release | tuple[int, str]]:
    """Releases in file order; a (line, message) pair for what cannot be placed."""
    release: Release | None = None
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith(("```", "~~~")):
            fenced = not fenced
        if fenced:
            continue
        if line.startswith("## "):
            if release:
                yield release
            found = VERSION.match(line)
            release = Release(number, found["name"], found["date"]) if found else None
            if not found:
                yield number, "heading is not '## [1.2.3] - YYYY-MM-DD'"
        elif line.startswith("### ") and release:
            release.groups.append((number, line[4:].strip(), []))
        elif re.match(r"[-*] ", line) and release:
            if release.groups:
                release.groups[-1][2].append((number, line))
            else:
                yield number, "entry stands outside a group"
    if release:
        yield release


def check_release(release: Release, older: Release | None) -> Iterator[tuple[int, str]]:
    if release.name == "Unreleased":
        if release.date:
            yield release.line, "Unreleased has no date"
    elif release.number is None:
        yield release.line, f"'{release.name}' is not a semantic version"
    else:
        try:
            day = dt.date.fromisoformat(release.date or "")
            if older and older.date and day < dt.date.fromisoformat(older.date):
                yield release.line, f"is dated before {older.name}"
        except ValueError:
            yield release.line, f"'{release.date}' is not a date like 2026-02-11"
        if older and older.number and release.order <= older.order:
            yield release.line, f"{release.name} stands above {older.name}"
    names = [name for _, name, _ in release.groups]
    for line, name, entries in release.groups:
        if name not in GROUPS:
            yield line, f"group '{name}' is none of {', '.join(GROUPS)}"
        if names.count(name) > 1:
            yield line, f"group '{name}' occurs twice"
        if not entries:
            yield line, f"group '{name}' is empty"
    known = [GROUPS.index(name) for name in names if name in GROUPS]
    if known != sorted(known):
        yield release.line, f"groups are not in the order {', '.join(GROUPS)}"
    yield from check_breaking(release, older)


def check_breaking(release: Release, older: Release | None) -> Iterator[tuple[int, str]]:
    if not (release.number and older and older.number):
        return
    places = 2 if release.number[0] == 0 else 1
    bumped = release.number[:places] != older.number[:places]
    for line, _, entries in (
        (line, name, entries) for line, name, entries in release.groups if name != "Security"
    ):
        broken = [number for number, text in entries if "**Breaking:**" in text]
        if broken and not bumped:
            yield broken[0] or line, f"breaking change, but {older.name} -> {release.name} is no major bump"


def check(text: str, expect: str | None) -> Iterator[tuple[int, str]]:
    parsed = list(parse(text))
    releases = [item for item in parsed if isinstance(item, Release)]
    yield from (item for item in parsed if not isinstance(item, Release))
    if not releases:
        yield 1, "there is no release in it"
        return
    for release, older in zip(releases, [*releases[1:], None], strict=True):
        yield from check_release(release, older)
        if f"\n[{release.name}]: " not in text:
            yield release.line, f"no link reference for [{release.name}]"
    versions = [release.name for release in releases if release.name != "Unreleased"]
    for name in sorted({name for name in versions if versions.count(name) > 1}):
        yield 1, f"{name} occurs twice"
    if expect and (not versions or versions[0] != expect):
        yield (
            releases[0].line,
            f"newest release is {versions[0] if versions else 'missing'}, expected {expect}",
        )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--expect", metavar="VERSION", help="the newest release must be this one")
    arguments = parser.parse_args()
    try:
        text = arguments.file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        print(f"check_changelog: {arguments.file}: {error}", file=sys.stderr)
        return 2
    findings = sorted(set(check(text, arguments.expect)))
    for line, message in findings:
        print(f"{arguments.file}:{line}: {message}")
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
