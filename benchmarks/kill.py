"""kill -9 at random moments, per optimizer and number of threads, and a table of what came of it.

    python benchmarks/kill.py [--kills 10] [--optimizer NAME] [--threads N] [--seed 0]

One line a kill: attempts made before it, whether the resumed program is the uninterrupted one, answers paid
twice, attempts lost (open at the kill, counted as spent).
"""

import argparse
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "optimization"))

from kill_harness import Case, kill_and_resume, uninterrupted

OPTIMIZERS = (
    "gepa",
    "miprov2",
    "bootstrap_random_search",
    "bootstrap_few_shot",
    "copro",
    "infer_rules",
    "labeled_few_shot",
    "simba",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, action="append")
    parser.add_argument("--threads", type=int, action="append")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    bad = 0
    print("| optimizer | threads | kills | same program | answers paid twice | lost, most | calls |")
    print("|---|---|---|---|---|---|---|")
    for optimizer in asked.optimizer or OPTIMIZERS:
        for threads in asked.threads or (1, 8):
            case = Case(optimizer, threads)
            with tempfile.TemporaryDirectory() as folder:
                whole = uninterrupted(case, Path(folder) / "whole")
                made = whole["calls"]["made"]
                done = [
                    kill_and_resume(case, Path(folder) / str(i), rng.randint(1, int(made * 0.97)))
                    for i in range(asked.kills)
                ]
            same = sum(one.hash == whole["program_hash"] for one in done)
            repeated = sum(one.repeated for one in done)
            lost = max(one.lost for one in done)
            over = [one for one in done if one.calls != made + one.lost]
            bad += asked.kills - same + repeated + len(over) + (lost > threads)
            cells = [optimizer, threads, asked.kills, f"{same}/{asked.kills}", repeated, lost, made]
            print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
