#!/usr/bin/env python3
"""Match invoice lines against orders and receipts, and decide pay, hold or dispute.

    python3 match_invoices.py --orders orders.csv --receipts receipts.csv --invoices invoices.csv

Orders:   po,line,item,quantity,unit_price,currency,supplier
Receipts: po,line,quantity                      (several rows per line are added up)
Invoices: invoice,date,supplier,po,line,quantity,unit_price,currency
Invoice lines are taken by date, then in file order, each against what earlier ones left.
Output: CSV with decision, reason and the amount at stake.
Exit codes: 0 everything can be paid, 1 something is held or disputed, 2 an input cannot be used.
"""

import argparse
import csv
import datetime as dt
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from pathlib import Path

COLUMNS = {
    "orders": ("po", "line", "item", "quantity", "unit_price", "currency", "supplier"),
    "receipts": ("po", "line", "quantity"),
    "invoices": ("invoice", "date", "supplier", "po", "line", "quantity", "unit_price", "currency"),
}
CENT = Decimal("0.01")
Row = dict[str, str]


@dataclass
class Books:
    """What was ordered, received and already invoiced, by (order, line)."""

    orders: dict[tuple[str, str], Row]
    received: dict[tuple[str, str], Decimal]
    invoiced: dict[tuple[str, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    seen: dict[tuple[str, str, str, str], str] = field(default_factory=dict)


def number(row: Row, name: str) -> Decimal:
    try:
        value = Decimal(row[name])
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value < 0:
        raise ValueError(f"{name} '{row[name]}' is not a number of at least 0 ({describe(row)})")
    return value


def describe(row: Row) -> str:
    return f"{row.get('invoice', 'order')} {row['po']}/{row['line']}"


def read(path: Path, kind: str) -> list[Row]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        if missing := set(COLUMNS[kind]) - set(reader.fieldnames or []):
            raise ValueError(f"{path}: columns are missing: {', '.join(sorted(missing))}")
        return [{name: (row[name] or "").strip() for name in COLUMNS[kind]} for row in reader]


def load(orders: list[Row], receipts: list[Row]) -> Books:
    received: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in receipts:
        received[row["po"], row["line"]] += number(row, "quantity")
    by_line: dict[tuple[str, str], Row] = {}
    for row in orders:
        number(row, "quantity"), number(row, "unit_price")
        if by_line.setdefault((row["po"], row["line"]), row) is not row:
            raise ValueError(f"order line {row['po']}/{row['line']} occurs twice")
    return Books(by_line, received)


def normal(invoice: str) -> str:
    """An invoice number without case, separators, the letters before it, and leading zeros."""
    plain = re.sub(r"[^0-9a-z]", "", invoice.casefold())
    return re.sub(r"^[a-z]*0*", "", plain) or plain


def decide(row: Row, books: Books, percent: Decimal, most: Decimal) -> tuple[str, str, Decimal]:
    """(decision, reason, amount at stake) of one invoice line; books are updated when it is payable."""
    key = (row["po"], row["line"])
    quantity, price = number(row, "quantity"), number(row, "unit_price")
    amount = quantity * price
    mark = (row["supplier"].casefold(), normal(row["invoice"]), *key)
    if mark in books.seen:
        return "dispute", f"duplicate of {books.seen[mark]}", amount
    books.seen[mark] = row["invoice"]
    order = books.orders.get(key)
    if order is None:
        return "hold", "no such order line", amount
    if order["supplier"].casefold() != row["supplier"].casefold():
        return "hold", f"order was placed with {order['supplier']}", amount
    if order["currency"] != row["currency"]:
        return "dispute", f"currency {row['currency']}, ordered in {order['currency']}", amount
    ordered_price = number(order, "unit_price")
    excess = (price - ordered_price) * quantity
    if excess > 0 and (excess > most or price > ordered_price * (1 + percent / 100)):
        return "dispute", f"unit price {price}, ordered at {ordered_price}", excess
    open_quantity = books.received[key] - books.invoiced[key]
    if quantity > open_quantity:
        reason = f"invoiced {quantity}, received and not yet invoiced {open_quantity}"
        return "hold", reason, (quantity - open_quantity) * price
    books.invoiced[key] += quantity
    return "pay", "within tolerance" if excess else "exact", amount


def results(rows: list[Row], books: Books, percent: Decimal, most: Decimal) -> Iterator[Row]:
    for row in rows:
        try:
            dt.date.fromisoformat(row["date"])
        except ValueError:
            raise ValueError(f"date '{row['date']}' is not like 2026-02-11 ({describe(row)})") from None
    for row in sorted(rows, key=lambda r: r["date"]):
        decision, reason, amount = decide(row, books, percent, most)
        stake = amount.quantize(CENT, ROUND_HALF_UP)
        keep = {name: row[name] for name in ("invoice", "po", "line")}
        yield {**keep, "decision": decision, "reason": reason, "amount": f"{stake}"}


def percentage(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or value < 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of at least 0")
    return value


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for kind in COLUMNS:
        parser.add_argument(f"--{kind}", type=Path, required=True)
    parser.add_argument("--price-tolerance", type=percentage, default=Decimal(2), metavar="PERCENT")
    parser.add_argument("--price-tolerance-amount", type=percentage, default=Decimal(50), metavar="AMOUNT")
    given = parser.parse_args()
    try:
        books = load(read(given.orders, "orders"), read(given.receipts, "receipts"))
        tolerances = (given.price_tolerance, given.price_tolerance_amount)
        found = list(results(read(given.invoices, "invoices"), books, *tolerances))
    except (OSError, ValueError, csv.Error) as error:
        print(f"match_invoices: {error}", file=sys.stderr)
        return 2
    fields = ("invoice", "po", "line", "decision", "reason", "amount")
    writer = csv.DictWriter(sys.stdout, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return int(any(row["decision"] != "pay" for row in found))


if __name__ == "__main__":
    sys.exit(main())
