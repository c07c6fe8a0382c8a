#!/usr/bin/env python3
"""Merge exports of several literature databases and remove duplicate records.

    python3 dedupe_records.py scopus.csv ieee.csv --output unique.csv --merged merged.csv

Columns are found by usual names, in any case: title (or "document title", "article title"),
year (or "publication year"), doi, authors. Two records are one when their DOIs agree, or when
their normalised titles agree, their years differ by at most one, and their DOIs do not contradict
within one source. The record with more filled fields is kept.
Exit codes: 0 done, 2 an input cannot be used.
"""

import argparse
import csv
import re
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path

NAMES = {
    "title": ("title", "document title", "article title", "ti"),
    "year": ("year", "publication year", "py", "date"),
    "doi": ("doi", "di"),
    "authors": ("authors", "author", "au", "author full names"),
}
FIELDS = ("source", "line", "title", "year", "doi", "authors")


@dataclass
class Record:
    """One line of one export, its fields normalised for comparison and as they were."""

    source: str
    line: int
    title: str
    year: str
    doi: str
    authors: str

    @property
    def key_doi(self) -> str:
        return re.sub(r"^(https?://(dx\.)?doi\.org/|doi:\s*)", "", self.doi.strip().casefold())

    @property
    def key_title(self) -> str:
        plain = unicodedata.normalize("NFKD", re.sub(r"<[^>]+>", "", self.title)).casefold()
        return re.sub(r"[^\w]+", "", "".join(c for c in plain if not unicodedata.combining(c)))

    @property
    def key_year(self) -> int | None:
        found = re.search(r"(19|20)\d\d", self.year)
        return int(found.group()) if found else None

    @property
    def filled(self) -> int:
        return sum(bool(text.strip()) for text in (self.title, self.year, self.doi, self.authors))

    def row(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in FIELDS}


def read(path: Path) -> list[Record]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        header = {name.strip().casefold(): name for name in reader.fieldnames or []}
        columns = {
            field: next((header[name] for name in names if name in header), None)
            for field, names in NAMES.items()
        }
        if columns["title"] is None:
            raise ValueError(f"no title column among: {', '.join(header) or 'nothing'}")
        return [
            Record(
                path.name,
                reader.line_num,
                **{field: (row.get(name) or "").strip() if name else "" for field, name in columns.items()},
            )
            for row in reader
        ]


def same(one: Record, other: Record) -> str | None:
    """Why two records are the same work, or None."""
    if one.key_doi and one.key_doi == other.key_doi:
        return "doi"
    if one.key_doi and other.key_doi and one.source == other.source:
        return None
    if len(one.key_title) >= 12 and one.key_title == other.key_title:
        years = (one.key_year, other.key_year)
        if None in years or abs(years[0] - years[1]) <= 1:
            return "title"
    return None


def dedupe(records: list[Record]) -> tuple[list[Record], list[tuple[Record, Record, str]]]:
    """(records kept, in input order; (dropped, kept, reason))."""
    kept: list[Record] = []
    by_key: dict[str, list[Record]] = {}
    merged: list[tuple[Record, Record, str]] = []
    for record in sorted(records, key=lambda r: -r.filled):
        keys = [key for key in (f"d:{record.key_doi}", f"t:{record.key_title}") if len(key) > 2]
        twins = ((twin, same(record, twin)) for key in keys for twin in by_key.get(key, ()))
        twin, reason = next(((t, r) for t, r in twins if r), (None, None))
        if twin is not None and reason is not None:
            merged.append((record, twin, reason))
        else:
            kept.append(record)
        for key in keys:
            by_key.setdefault(key, []).append(twin or record)
    order = {id(record): i for i, record in enumerate(records)}
    return sorted(kept, key=lambda r: order[id(r)]), merged


def write(path: Path, rows: list[dict[str, object]], fields: tuple[str, ...]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="unique records, CSV")
    parser.add_argument("--merged", type=Path, help="what was merged into what, CSV")
    arguments = parser.parse_args()
    records: list[Record] = []
    for path in arguments.files:
        try:
            found = read(path)
        except (OSError, ValueError, csv.Error) as error:
            print(f"dedupe_records: {path}: {error}", file=sys.stderr)
            return 2
        print(f"{path.name}: {len(found)} records")
        records += found
    kept, merged = dedupe(records)
    write(arguments.output, [record.row() for record in kept], FIELDS)
    if arguments.merged:
        rows = [
            {"dropped": f"{a.source}:{a.line}", "kept": f"{b.source}:{b.line}", "by": why}
            for a, b, why in merged
        ]
        write(arguments.merged, rows, ("dropped", "kept", "by"))
    by_doi = sum(why == "doi" for *_, why in merged)
    print(
        f"total {len(records)}, duplicates {len(merged)} (doi {by_doi}, title {len(merged) - by_doi})", end=""
    )
    print(f", to screen {len(kept)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
