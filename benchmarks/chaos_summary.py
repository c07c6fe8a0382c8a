"""The rows of `benchmarks/chaos.py --json`, one line a fault: ours over all cells, stock DSPy beside.

    uv run python benchmarks/chaos_summary.py FILE...

Columns of ours, so many of all cells of the fault: it ended with the program of the run without faults;
its calls are the server's count; its tokens and dollars are those of the server's books for all answers
with usage; what the server billed lies in the range of the bill. Then failures that were given a score,
in all, and how the runs ended. Columns of stock, GEPA and MIPROv2 at the highest rate and 8 threads:
its program is that of its own run without faults; what it scores on the test set, and without faults;
failures that it scored; share of the tokens that the server billed which it does not count. A cell that
stands in several files counts once, as last measured.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_HEAD = (
    "fault", "same program", "calls", "usage", "bill", "scored", "ended",
    "stock program", "stock test", "stock scored", "stock not counted",
)  # fmt: skip
_USD = 1e-9


def main() -> int:
    cells: dict[str, dict[str, Any]] = {}
    for name in sys.argv[1:]:
        for row in map(json.loads, Path(name).read_text().splitlines()):
            key = json.dumps(row["cell"])
            cells[key] = cells.get(key, {}) | row
    rows = list(cells.values())
    print("| " + " | ".join(_HEAD) + " |")
    print("|" + "---|" * len(_HEAD))
    for fault in dict.fromkeys(row["cell"]["fault"] for row in rows):
        found = [row for row in rows if row["cell"]["fault"] == fault]
        print("| " + " | ".join([f"`{fault}`", *_ours(found), *_stock(found)]) + " |")
    print(f"\n{len(rows)} cells, {sum(len(row['broken']) for row in rows)} broken laws.")
    return 0


def _ours(rows: list[dict[str, Any]]) -> list[str]:
    pairs = [(row["ours"]["outcome"], row["ours"]["books"], row["without_faults"]) for row in rows]
    return [
        _share(one["hash"] == clean["hash"] for one, _, clean in pairs),
        _share(one["calls"] == books["requests"] for one, books, _ in pairs),
        _share(
            one["tokens"][0] == books["read_tokens"] and abs(one["usd"][0] - books["read_usd"]) < _USD
            for one, books, _ in pairs
        ),
        _share(
            _within(books["tokens"], one["tokens"]) and _within(books["usd"], one["usd"])
            for one, books, _ in pairs
        ),
        str(sum(one["failed_scores"] for one, *_ in pairs)),
        ", ".join(f"{count} {how}" for how, count in Counter(_end(one) for one, *_ in pairs).items()),
    ]


def _end(one: Mapping[str, Any]) -> str:
    if one["error"]:
        return f"{one['status']} ({one['error'].partition(':')[0]})"
    return f"{one['status']} with exclusions" if one["excluded"] else str(one["status"])


def _stock(rows: list[dict[str, Any]]) -> list[str]:
    beside = {row["cell"]["case"]["optimizer"]: row for row in rows if "stock" in row}
    found = [
        (row["stock"]["outcome"], row["stock"]["books"], row["stock_without_faults"]["outcome"])
        for row in beside.values()
    ]
    same = {True: "same", False: "other"}
    cells = [
        ["none" if one["hash"] is None else same[one["hash"] == clean["hash"]] for one, _, clean in found],
        [f"{_score(one)} ({_score(clean)})" for one, _, clean in found],
        [str(one["failed_scores"]) for one, *_ in found],
        [
            f"{1 - one['tokens'][0] / books['tokens']:.0%}" if books["tokens"] else "-"
            for one, books, _ in found
        ],
    ]
    return [", ".join(cell) for cell in cells]


def _score(one: Mapping[str, Any]) -> str:
    value = one["scores"].get("optimized.test")
    return "-" if value is None else f"{value:.2f}"


def _share(kept: Iterable[bool]) -> str:
    answers = list(kept)
    return f"{sum(answers)} of {len(answers)}"


def _within(number: float, ends: list[float | None]) -> bool:
    low, high = ends
    return low is not None and number >= low - _USD and (high is None or number <= high + _USD)


if __name__ == "__main__":
    sys.exit(main())
