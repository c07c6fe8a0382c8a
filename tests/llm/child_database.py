"""Processes on one database, started by `test_journal_store_kill.py`: child_database.py URL DIRECTORY SEED.

One process imports dspy and forks the others, so that all of them cost one import. Each asks 150 things in 8
threads through the whole call path, under a lease, and notes every paid attempt in a log of its own. Prints
of each scenario what the logs and the ledger say.
"""

import faulthandler
import json
import os
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from dspy.lm15 import Request

from skill_fleet.config.settings import ModelSpec
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.jobs.records import Lease
from skill_fleet.llm.budget import Account, Gate, Limits
from skill_fleet.llm.calls.engine import Line, MeteredEngine
from skill_fleet.llm.fleet_lm import FleetLM
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal.database_engine import postgres_engine
from skill_fleet.llm.journal.database_journal import DatabaseJournal
from skill_fleet.llm.pricing import price_of
from skill_fleet.llm.testing import ScriptedModel

ASKED = 150
HANGS = 75.0


class Stage:
    """One scenario: a run of its own in the database, and processes that work on it."""

    def __init__(self, url: str, folder: Path, run: str, chance: random.Random) -> None:
        self.url, self.folder, self.run, self.chance = url, folder, run, chance
        self.logs: list[Path] = []

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        engine = postgres_engine(self.url)
        with engine.begin() as db:
            return [tuple(row) for row in db.execute(sa.text(statement), {"run": self.run})]

    def take_up(self) -> int:
        ((fence,),) = self.rows(
            "insert into skill_fleet.lease values (:run, 1, 'w', 0)"
            " on conflict (job_id) do update set fence = lease.fence + 1 returning fence"
        )
        return int(fence)

    def start(self, fence: int, most: int = ASKED) -> int:
        log = self.folder / f"{self.run}{len(self.logs)}.log"
        self.logs.append(log)
        pid = os.fork()
        if pid:
            return pid
        code = 1
        faulthandler.dump_traceback_later(HANGS, exit=True)
        try:
            end = self.work(log, fence, most)
            log.with_suffix(".json").write_text(json.dumps(end))
            code = 0
        finally:
            os._exit(code)

    def work(self, log: Path, fence: int, most: int) -> dict[str, Any]:
        """Ask everything; whoever comes after so many calls waits to be killed."""
        descriptor = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

        def noted(number: int, request: Request) -> None:
            if number > most:
                time.sleep(60)
            os.write(descriptor, f"{request.messages[-1].text}\n".encode())

        journal = DatabaseJournal(postgres_engine(self.url), lease=Lease(self.run, fence, "w"))
        journal.reconcile(self.run)
        spec = ModelSpec(model="offline/scripted", temperature=0.5)
        model = ScriptedModel(latency=0.004, fault=noted, answer=lambda request: request.messages[-1].text)
        gate = Gate(Account(Limits(), SYSTEM_CLOCK))
        line = Line(journal, self.run, SYSTEM_CLOCK)
        lm = FleetLM(MeteredEngine(model, spec, line, gate, price_of(spec)))

        def ask(number: int) -> bool:
            try:
                return bool(lm(f"{self.run} {number}")[0] == f"{self.run} {number}")
            except Halt:
                return False

        with ThreadPoolExecutor(8) as pool:
            right = sum(pool.map(ask, range(ASKED)))
        journal.close()
        return {"right": right, "halt": gate.closed.cause if gate.closed else None}

    def in_the_middle(self) -> None:
        """After the first call of the last process, before its last one."""
        log = self.logs[-1]
        until = time.monotonic() + 60
        while (not log.exists() or not log.stat().st_size) and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(self.chance.uniform(0.0, 0.03))

    def paid(self, log: int) -> list[str]:
        return self.logs[log].read_text().splitlines() if self.logs[log].exists() else []

    def end(self, log: int) -> dict[str, Any]:
        end: dict[str, Any] = json.loads(self.logs[log].with_suffix(".json").read_text())
        return {**end, "paid": self.paid(log)}

    def stored(self) -> list[str]:
        found = self.rows(
            "select r.body from skill_fleet.response r join skill_fleet.attempt a using (attempt)"
            " where a.run = :run"
        )
        return [json.loads(body)["message"]["parts"][0]["text"] for (body,) in found]

    def books(self) -> dict[str, int]:
        return dict(
            self.rows("select state, count(*) from skill_fleet.attempt where run = :run group by 1")  # type: ignore[arg-type]
        )


def killed(stage: Stage) -> dict[str, Any]:
    """Three processes one after the other; the first two are killed in the middle."""
    stored = []
    for _ in range(2):
        pid = stage.start(stage.take_up(), most=60)
        stage.in_the_middle()
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        stored.append(stage.stored())
    os.waitpid(stage.start(stage.take_up()), 0)
    return {
        "paid": [stage.paid(0), stage.paid(1)],
        "stored": stored,
        "end": stage.end(2),
        "books": stage.books(),
    }


def overtaken(stage: Stage) -> dict[str, Any]:
    """SIGSTOP, another process takes the job up and finishes it, SIGCONT."""
    asleep = stage.start(stage.take_up())
    stage.in_the_middle()
    os.kill(asleep, signal.SIGSTOP)
    os.waitpid(stage.start(stage.take_up()), 0)
    begun = len(stage.paid(0))
    os.kill(asleep, signal.SIGCONT)
    os.waitpid(asleep, 0)
    return {"begun": begun, "asleep": stage.end(0), "awake": stage.end(1), "books": stage.books()}


def together(stage: Stage) -> dict[str, Any]:
    """Three at once under one lease, as where nobody fences."""
    fence = stage.take_up()
    for pid in [stage.start(fence) for _ in range(3)]:
        os.waitpid(pid, 0)
    return {"ends": [stage.end(log) for log in range(3)], "stored": stage.stored(), "books": stage.books()}


def main(url: str, folder: str, seed: str) -> dict[str, Any]:
    return {
        play.__name__: play(Stage(url, Path(folder), play.__name__, random.Random(f"{seed} {play.__name__}")))
        for play in (killed, overtaken, together)
    }


if __name__ == "__main__":
    json.dump(main(*sys.argv[1:]), sys.stdout)
