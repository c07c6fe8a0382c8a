"""Kill an optimization at a chosen moment, resume it, and say what was repeated.

Used by the tests and by `benchmarks/kill.py`.

A run is started as a user would start it, `python -m skill_fleet optimize`, and killed with SIGKILL as soon
as its ledger holds a given number of attempts. Then `runs resume` ends it.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from shutil import copy

PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True)
class Case:
    """One optimizer at one number of threads, on the ticket program."""

    optimizer: str
    threads: int

    def command(self, workspace: Path) -> list[str]:
        """The words a user would type."""
        return [
            *base(workspace),
            "optimize",
            *("--program", "triage:TriageProgram", "--metric", "triage:exact", "--data", "tickets.json"),
            *("--optimizer", self.optimizer, "--num-threads", str(self.threads), "--trials", "4"),
            *("--output", str(workspace / "out.json"), "--json", "--quiet"),
        ]


@dataclass(frozen=True)
class Killed:
    """What one kill and resume came to.

    Attributes:
        at: Attempts in the ledger when the process was killed.
        hash: Of the final program.
        repeated: Keys settled more than once.
        lost: Attempts that were open at the kill, counted as spent.
        calls: All attempts of the run.
    """

    at: int
    hash: str
    repeated: int
    lost: int
    calls: int


def base(workspace: Path) -> list[str]:
    """The program, at a workspace."""
    return [sys.executable, "-m", "skill_fleet", "--workspace", str(workspace)]


def make_workspace(root: Path) -> Path:
    """A workspace with the ticket program and its data."""
    sys.path.insert(0, str(PROGRAMS))
    import triage

    root.mkdir(parents=True)
    copy(PROGRAMS / "triage.py", root)
    (root / "tickets.json").write_text(json.dumps(triage.tickets()))
    return root


def uninterrupted(case: Case, root: Path) -> dict:
    """The result of the case when nothing happens to it."""
    done = subprocess.run(
        case.command(make_workspace(root)), capture_output=True, text=True, timeout=170, check=True
    )
    return json.loads(done.stdout)


def kill_and_resume(case: Case, root: Path, at: int) -> Killed:
    """Kill the case when its ledger holds so many attempts, then resume it to its end."""
    workspace = make_workspace(root)
    ledger = workspace / ".skill-fleet" / "ledger.sqlite"
    process = subprocess.Popen(
        case.command(workspace), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        seen = _wait_for(process, ledger, at)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
    done = subprocess.run(
        [*base(workspace), "runs", "resume", "latest", "--json", "--quiet"],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"resume after {seen} attempts: exit {done.returncode}: {done.stderr[-2000:]}")
    result = json.loads(done.stdout)
    with sqlite3.connect(ledger) as db:
        repeated = db.execute(
            "select count(*) from ("
            "select key from attempt where state='settled' group by key having count(*) > 1)"
        ).fetchone()[0]
        lost = db.execute("select count(*) from attempt where state='lost'").fetchone()[0]
        calls = db.execute("select count(*) from attempt").fetchone()[0]
    return Killed(seen, result["program_hash"], repeated, lost, calls)


def _wait_for(process: subprocess.Popen, ledger: Path, at: int) -> int:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the run ended before it could be killed: {process.stderr.read()[-2000:]!r}")
        if ledger.exists():
            try:
                with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=1) as db:
                    made = db.execute("select count(*) from attempt").fetchone()[0]
            except sqlite3.Error:
                made = 0  # the schema is being made
            if made >= at:
                return made
        time.sleep(0.002)
    raise RuntimeError(f"no {at} attempts within two minutes")
