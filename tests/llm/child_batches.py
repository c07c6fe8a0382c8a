"""Journals killed in the middle of their batches, for `test_journal_batches.py`: child_batches.py DIRECTORY.

Each round forks a process whose threads pay as fast as they can. By single writes, which a kill cannot tear,
it notes what may be sent (the intent is committed) and what was answered (the answer is). Prints for each
round what these notes say and what the files say after the kill. Imports no dspy.
"""

import json
import os
import signal
import sqlite3
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from skill_fleet.llm.journal.journal import Journal, Usage

THREADS = 32
ROUNDS = 6


def journal_in(place: Path) -> Journal:
    return Journal(place / "ledger", place / "responses")


def pay_for_ever(place: Path, number: int) -> None:
    journal = journal_in(place)
    append = os.O_CREAT | os.O_APPEND | os.O_WRONLY
    sent = os.open(place / f"sent{number}", append)
    answered = os.open(place / f"answered{number}", append)

    def work(thread: int) -> None:
        for step in range(10**6):
            key = f"{number}-{thread}-{step}"
            attempt = journal.open_attempt("run", key, "evaluation", "m")
            os.write(sent, f"{attempt}\n".encode())
            journal.settle(attempt, key, "m", f'"{key}"', Usage(1, 1, 0.5))
            os.write(answered, f"{key}\n".encode())

    for thread in range(THREADS):
        threading.Thread(target=work, args=(thread,), daemon=True).start()
    time.sleep(60)


def killed(place: Path, number: int) -> None:
    pid = os.fork()
    if not pid:
        try:
            pay_for_ever(place, number)
        finally:
            os._exit(1)
    log = place / f"answered{number}"
    while not log.exists() or log.stat().st_size < 200 * (number + 1):
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def found(place: Path, number: int) -> dict[str, Any]:
    with closing(sqlite3.connect(place / "ledger")) as db:
        noted = [row[0] for row in db.execute("select attempt from attempt")]
    journal = journal_in(place)
    answered = (place / f"answered{number}").read_text().splitlines()
    wrong = [key for key in answered if journal.lookup(key) != f'"{key}"']
    journal.reconcile("run")
    spent = journal.spent("run")
    stored = journal.stats()["responses"]
    journal.close()
    sent = (place / f"sent{number}").read_text().splitlines()
    return {
        "answered": len(answered),
        "answered and not stored": wrong,
        "sent and not noted": sorted(set(sent) - set(noted)),
        "twice": len(noted) - len(set(noted)),
        "stored": stored,
        "settled": spent.settled,
        "calls": spent.calls,
        "lost": spent.lost,
        "usd": spent.usd,
    }


if __name__ == "__main__":
    here = Path(sys.argv[1])
    rounds = []
    for one in range(ROUNDS):
        killed(here, one)
        rounds.append(found(here, one))
    json.dump(rounds, sys.stdout)
