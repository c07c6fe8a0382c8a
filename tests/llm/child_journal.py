"""Processes around one journal, for `test_journal_processes.py`: child_journal.py SCENARIO DIRECTORY [N].

Prints one JSON value. Imports no dspy, so that a process starts in a moment.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

from skill_fleet.foundation.errors import StorageError
from skill_fleet.llm.journal.journal import Journal, Usage

USAGE = Usage(3, 4, 0.5)


def opened(place: Path) -> Journal:
    return Journal(place / "state" / "ledger", place / "cache" / "responses")


def race(place: Path, start: str) -> dict[str, str]:
    """Open a new journal and pay for the same keys at the same moment as other processes."""
    time.sleep(max(0.0, float(start) - time.time() - 0.005))
    while time.time() < float(start):
        pass
    journal = opened(place)
    answers = {}
    for number in range(20):
        key = f"k{number}"
        attempt = journal.open_attempt("run", key, "evaluation", "m")
        answers[key] = journal.settle(attempt, key, "m", f'"{os.getpid()}"', USAGE)
    # What another process stored is found, too.
    assert all(journal.lookup(key) == answer for key, answer in answers.items())
    journal.close()
    return answers


def full(place: Path, room: str) -> dict[str, int]:
    """Pay until no file may grow, then get space back and go on."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    journal = opened(place)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), hard))
    paid = refused = 0
    for number in range(400):
        try:
            attempt = journal.open_attempt("run", f"k{number}", "evaluation", "m")
        except StorageError:
            refused += 1
            continue
        try:
            journal.settle(attempt, f"k{number}", "m", '"' + "x" * 2000 + '"', USAGE)
            paid += 1
        except StorageError:
            refused += 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    journal.reconcile("run")
    attempt = journal.open_attempt("run", "after", "evaluation", "m")
    journal.settle(attempt, "after", "m", '"after"', USAGE)
    kept = sum(journal.lookup(f"k{number}") is not None for number in range(400))
    spent = journal.spent("run")
    journal.close()
    again = opened(place)
    assert again.spent("run") == spent, "what was counted is on the disk"
    assert sum(again.lookup(f"k{number}") is not None for number in range(400)) == kept
    again.close()
    return {"paid": paid, "refused": refused, "kept": kept, "settled": spent.settled, "lost": spent.lost}


def readonly(place: Path) -> list[str]:
    """Open a journal whose directory, then whose files, this process may not write."""
    said = []
    journal = opened(place / "made before")
    journal.close()
    if os.geteuid() == 0:
        os.seteuid(65534)
    for name in ("never made", "made before"):
        try:
            journal = opened(place / name)
            journal.open_attempt("run", "k", "evaluation", "m")
            said.append("it was written")
        except StorageError as error:
            said.append(error.message)
    return said


if __name__ == "__main__":
    scenario = {"race": race, "full": full, "readonly": readonly}[sys.argv[1]]
    json.dump(scenario(Path(sys.argv[2]), *sys.argv[3:]), sys.stdout)
