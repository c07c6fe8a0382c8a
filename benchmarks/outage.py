"""Kill the provider of an optimization half way, start it again, resume, and print what came of it.

    uv run python benchmarks/outage.py [--optimizer NAME] [--threads N]

The provider is `skill-fleet simulate-provider`, ended by SIGKILL; optimization and resume are commands of
their own. `calls.outage_seconds` is 3. Exit code 1 when a promise broke, or the provider was not killed in
the middle of the run's questions.

Columns: optimizer; threads; requests of the same run when nothing happens; attempts in the ledger at the
kill; exit code of the command and seconds from the kill to its end; attempts that failed in this time;
requests to the provider after it was back; whether program and measurements are those of the run that
nothing happened to; answers paid twice. What broke is listed below the table.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "optimization"))

from kill_harness import Case
from outage_harness import died, outcome

_HEAD = (
    "optimizer", "threads", "requests", "killed at", "exit code", "seconds", "failed", "asked after",
    "same result", "paid twice",
)  # fmt: skip


def main() -> int:
    asked = _asked()
    print("| " + " | ".join(_HEAD) + " |")
    print("|" + "---|" * len(_HEAD))
    faults: list[str] = []
    for optimizer in asked.optimizer or ("gepa", "miprov2"):
        with tempfile.TemporaryDirectory() as folder:
            found = died(Case(optimizer, asked.threads), Path(folder))
        same = found.resumed["program_hash"] == found.whole["program_hash"]
        same = same and outcome(found.resumed) == outcome(found.whole)
        cells = (
            optimizer, asked.threads, found.asked, found.at, found.code, f"{found.seconds:.1f}",
            found.refused, found.asked_again, "yes" if same else "NO", found.repeated,
        )  # fmt: skip
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
        faults += [f"{optimizer}: {words}" for words in found.faults()]
    print("\n".join(faults))
    return 1 if faults else 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--optimizer", action="append")
    parser.add_argument("--threads", type=int, default=16)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
