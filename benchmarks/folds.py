"""Repeated K-fold under simulation, without a language model: how often it calls better what is no better.

    uv run python benchmarks/folds.py [--runs 1000] [--seed 0]

Columns: *design*, how groups are dealt; *true gain* of all ten candidates among which each fold chooses;
*called better* by the corrected resampled test at the alpha of a first reading, 0.030; *uncorrected*, by a
plain t over all fold gains, as cross-validation is often read; *bound*, what is promised (`holds` or
`BROKEN`). Ends with exit code 1 when a bound is broken.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "optimization"))

from resampled_draws import Called, Design, called

from skill_fleet.evaluation.statistics import alpha_for_read

SMALL = Design((3,) * 10)
UNEVEN = Design((1, 9, 2, 7, 3, 1, 12, 4, 2, 6, 1, 1))
NO_BETTER = {
    "10 groups of 3, 5 folds": SMALL,
    "10 groups of 3, 5 folds, 5 repeats": replace(SMALL, repeats=5),
    "the same, candidates that gain on the same groups": replace(SMALL, repeats=5, kind="alike"),
    "10 groups of 3, 5 folds, 3 repeats, pass or fail": replace(SMALL, repeats=3, kind="binary"),
    "10 groups of 3, 10 folds": replace(SMALL, folds=10),
    "12 groups of 1 to 12, 5 folds, 3 repeats": replace(UNEVEN, repeats=3),
}
GAINING = {
    "10 groups of 3, 5 folds": SMALL,
    "20 groups of 3, 5 folds, 3 repeats": replace(SMALL, sizes=(3,) * 20, repeats=3),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    broken = 0
    print("| design | true gain | called better | uncorrected | bound |\n|---|---|---|---|---|")
    for name, design in NO_BETTER.items():
        found = called(design, asked.runs, seed=asked.seed)
        broken += row(
            name, 0.0, found, f"{share(alpha_for_read(1))} at most", found.better <= alpha_for_read(1)
        )
    for name, design in GAINING.items():
        printed = called(design, asked.runs, gain=0.1, seed=asked.seed).effect
        found = called(design, asked.runs, gain=printed, seed=asked.seed + 1)
        broken += row(name, printed, found, "as printed: 80 % or more", held=found.better >= 0.77)
    return 1 if broken else 0


def row(name: str, gain: float, found: Called, bound: str, *, held: bool) -> int:
    """Print a row; 1 when its bound is broken."""
    said = "holds" if held else "BROKEN"
    print(
        f"| {name} | {gain:.3f} | {share(found.better)} | {share(found.naive)} | {bound}: {said} |",
        flush=True,
    )
    return int(not held)


def share(value: float) -> str:
    """A share in percent."""
    return f"{100 * value:.1f} %"


if __name__ == "__main__":
    sys.exit(main())
