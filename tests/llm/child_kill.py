"""A run that is killed again and again, started by `test_journal_processes.py`: child_kill.py DIRECTORY SEED.

One process imports dspy and forks the runs, so that five kills cost one import. Each run asks 150 things in 8
threads through the whole call path and notes every paid attempt in a log of its own. Prints for each run what
its log says was paid, what was stored when it died, and what the ledger then says.
"""

import json
import os
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dspy.lm15 import Request

from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.llm.budget import Account, Gate, Limits
from skill_fleet.llm.calls.engine import Line, MeteredEngine
from skill_fleet.llm.fleet_lm import FleetLM
from skill_fleet.llm.journal.journal import Journal
from skill_fleet.llm.pricing import price_of
from skill_fleet.llm.testing import ScriptedModel

ASKED = 150
THREADS = 8  # five times 25 calls are less than all of them: each kill comes in the middle


def journal_in(place: Path) -> Journal:
    return Journal(place / "ledger", place / "responses")


def run(place: Path, log: Path, most: int) -> None:
    """Ask everything; whoever comes after so many calls waits to be killed."""
    journal = journal_in(place)
    descriptor = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def noted(number: int, request: Request) -> None:
        if number > most:
            time.sleep(60)
        os.write(descriptor, f"{request.messages[-1].text}\n".encode())

    spec = ModelSpec(model="offline/scripted", temperature=0.5)
    model = ScriptedModel(
        latency=0.004, fault=noted, answer=lambda request: f"answer to {request.messages[-1].text}"
    )
    gate = Gate(Account(Limits(), SYSTEM_CLOCK))
    engine = MeteredEngine(model, spec, Line(journal, "run", SYSTEM_CLOCK), gate, price_of(spec))
    lm = FleetLM(engine)
    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(lambda number: lm(f"item {number}")[0], range(ASKED)))
    assert answers == [f"answer to item {number}" for number in range(ASKED)]


def stored(place: Path) -> list[str]:
    import sqlite3

    with sqlite3.connect(place / "responses") as db:
        bodies = [row[0] for row in db.execute("select body from response")]
    db.close()
    return sorted(
        json.loads(body)["message"]["parts"][0]["text"].removeprefix("answer to ") for body in bodies
    )


def child(place: Path, log: Path, most: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        run(place, log, most)
        code = 0
    finally:
        os._exit(code)


def main(place: Path, seed: int) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    journal_in(place).close()
    rounds = []
    for number in range(6):
        log = place / f"log{number}"
        pid = child(place, log, 25 if number < 5 else ASKED)
        if number < 5:
            # Somewhere in the work: after the first call, before the last.
            while not log.exists() or not log.stat().st_size:
                time.sleep(0.001)
            time.sleep(chance.uniform(0.0, 0.02))
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        there = stored(place)
        journal = journal_in(place)
        open_before = journal.spent("run").lost
        lost = journal.reconcile("run")
        spent = journal.spent("run")
        journal.close()
        rounds.append(
            {
                "killed": os.WIFSIGNALED(status),
                "status": status,
                "paid": log.read_text().splitlines(),
                "stored": there,
                "open": open_before,
                "lost": lost,
                "calls": spent.calls,
                "settled": spent.settled,
                "lost_so_far": spent.lost,
            }
        )
    return rounds


if __name__ == "__main__":
    json.dump(main(Path(sys.argv[1]), int(sys.argv[2])), sys.stdout)
