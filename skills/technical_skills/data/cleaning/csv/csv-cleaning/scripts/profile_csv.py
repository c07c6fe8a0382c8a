#!/usr/bin/env python3
"""Profile a CSV file before cleaning it: encoding, delimiter, structure, and each column.

    python3 profile_csv.py export.csv
    python3 profile_csv.py export.csv --delimiter ';' --json

Reads the file as a stream; a few distinct values per column are kept, never the rows.
Exit codes: 0 regular structure, 1 structural problems, 2 the file cannot be read as CSV.
"""

import argparse
import csv
import io
import json
import re
import sys
from collections import Counter
from pathlib import Path

NULLS = {"", "-", "n/a", "na", "null", "none", "nan", "#n/a", "\\n"}
DELIMITERS = ",;\t|"
KEPT = 1000
SHAPES = {
    "integer": re.compile(r"[+-]?\d+"),
    "decimal point": re.compile(r"[+-]?(\d+|\d{1,3}(,\d{3})+)\.\d+"),
    "decimal comma": re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+"),
    "iso date": re.compile(r"\d{4}-\d{2}-\d{2}"),
    "iso time stamp": re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}.*"),
    "dotted date": re.compile(r"\d{1,2}\.\d{1,2}\.\d{2,4}"),
    "slashed date": re.compile(r"\d{1,2}/\d{1,2}/\d{2,4}"),
    "boolean": re.compile(r"true|false|yes|no|y|n", re.IGNORECASE),
}


class Column:
    """What is known of one column so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.filled = 0
        self.nulls = 0
        self.shapes: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.overflow = False
        self.odd: Counter[str] = Counter()

    def add(self, raw: str) -> None:
        text = raw.strip()
        if text != raw:
            self.odd["surrounding blanks"] += 1
        if text.casefold() in NULLS:
            self.nulls += 1
            return
        self.filled += 1
        shape = next((name for name, pattern in SHAPES.items() if pattern.fullmatch(text)), "text")
        self.shapes[shape] += 1
        self._note(text, shape)
        if text in self.seen or len(self.seen) < KEPT:
            self.seen[text] += 1
        else:
            self.overflow = True

    def _note(self, text: str, shape: str) -> None:
        if shape == "integer" and len(text.lstrip("+-")) > 1 and text.lstrip("+-").startswith("0"):
            self.odd["leading zeros"] += 1
        if shape == "integer" and len(text) > 15:
            self.odd["more than 15 digits"] += 1
        if shape == "slashed date" and all(int(part) <= 12 for part in text.split("/")[:2]):
            self.odd["day and month cannot be told apart"] += 1
        if "\ufffd" in text:
            self.odd["replacement character"] += 1
        elif re.search(r"Ã[\x80-\xbf\u2018-\u203a€]|â€", text):
            self.odd["mojibake"] += 1
        if "\n" in text:
            self.odd["line break inside"] += 1
        if text[0] in "=@":
            self.odd["spreadsheet formula"] += 1

    def report(self) -> dict:
        kinds = [name for name, _ in self.shapes.most_common()]
        if "leading zeros" in self.odd or "more than 15 digits" in self.odd:
            kinds = ["identifier (keep as text)", *[kind for kind in kinds if kind != "integer"]]
        total = self.filled + self.nulls
        return {
            "column": self.name,
            "filled": round(self.filled / total, 4) if total else 0.0,
            "distinct": f">{KEPT}" if self.overflow else len(self.seen),
            "types": kinds or ["empty"],
            "odd": dict(self.odd),
            "examples": [value[:40] for value, _ in self.seen.most_common(3)],
        }


def decode(data: bytes) -> tuple[str, str]:
    if b"\0" in data[:4096]:
        raise ValueError("it holds NUL bytes: UTF-16, or not a text file")
    for encoding in ("utf-8-sig", "utf-8", "cp1252"):
        if encoding == "utf-8-sig" and not data.startswith(b"\xef\xbb\xbf"):
            continue
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1"), "latin-1 (doubtful)"


def guess_delimiter(text: str) -> str:
    """The delimiter that gives the most lines the same number of fields, more than one."""
    sample = text[:65536]

    def agreement(delimiter: str) -> tuple[int, int]:
        widths = Counter(len(row) for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter))
        width, rows = max(widths.items(), key=lambda pair: (pair[0] > 1, pair[1]), default=(1, 0))
        return (rows, width) if width > 1 else (0, 0)

    return max(DELIMITERS, key=agreement)


def profile(data: bytes, delimiter: str | None) -> dict:
    text, encoding = decode(data)
    if text.startswith("sep=") and len(text) > 4:
        delimiter, text = delimiter or text[4], text.partition("\n")[2]
    delimiter = delimiter or guess_delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = next(reader, None)
    if not header:
        raise ValueError("it is empty")
    columns = [Column(name.strip()) for name in header]
    rows, ragged, blank = 0, [], 0
    for row in reader:
        if not any(field.strip() for field in row):
            blank += 1
            continue
        rows += 1
        if len(row) != len(columns):
            ragged.append({"line": reader.line_num, "fields": len(row)})
        for column, value in zip(columns, row, strict=False):
            column.add(value)
    names = Counter(column.name.casefold() for column in columns)
    problems = [f"duplicate header: {name or '(empty)'}" for name, count in names.items() if count > 1]
    problems += [f"empty header at position {i}" for i, c in enumerate(columns, 1) if not c.name]
    if ragged:
        problems.append(f"{len(ragged)} rows do not have {len(columns)} fields")
    return {
        "encoding": encoding,
        "delimiter": delimiter,
        "rows": rows,
        "blank_rows": blank,
        "ragged": ragged[:20],
        "problems": problems,
        "columns": [column.report() for column in columns],
    }


def show(result: dict) -> None:
    print(f"encoding {result['encoding']}, delimiter {result['delimiter']!r}, {result['rows']} rows")
    for problem in result["problems"]:
        print(f"PROBLEM {problem}")
    for row in result["ragged"]:
        print(f"  line {row['line']}: {row['fields']} fields")
    for column in result["columns"]:
        odd = ", ".join(f"{name} x{count}" for name, count in column["odd"].items())
        print(f"{column['column']}: {column['filled']:.1%} filled, {column['distinct']} distinct, ", end="")
        print("/".join(column["types"]) + (f"; {odd}" if odd else "") + f"; e.g. {column['examples']}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--delimiter", help="one character; found from the data when left out")
    parser.add_argument("--json", action="store_true", help="print the profile as JSON")
    arguments = parser.parse_args()
    if arguments.delimiter is not None and len(arguments.delimiter) != 1:
        parser.error("--delimiter takes one character")
    try:
        result = profile(arguments.file.read_bytes(), arguments.delimiter)
    except (OSError, ValueError, csv.Error) as error:
        print(f"profile_csv: {arguments.file}: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(result, ensure_ascii=False, indent=2))
    else:
        show(result)
    return int(bool(result["problems"]))


if __name__ == "__main__":
    sys.exit(main())
