"""A child process, from its start to its end: no store, no queue."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from jobs.workers_help import gone, within
from skill_fleet.foundation.errors import StorageError
from skill_fleet.jobs.records import Job, Lease
from skill_fleet.jobs.runner import Interruption, Outcome, Reason
from skill_fleet.jobs.supervise import ChildRunner

AT_ONCE = 30.0
"""Seconds: far below every grace time and sleep here, far above what a busy machine takes."""
NAME = "20260101-000000-0000000001"
URL = "postgresql://me:p%40ssword@db.example/jobs"


def job() -> Job:
    fields: dict[str, Any] = dict.fromkeys(Job.__dataclass_fields__)
    return Job(**fields | {"job_id": NAME})


def run(tmp_path: Path, program: str, *, say: Reason | None = None, **options: Any) -> tuple[Outcome, float]:
    """How a program ends, and how long after the word it took; it finds `tmp_path` as its folder.

    The word is said when the program has made the file `began` there.
    """

    async def both() -> tuple[Outcome, float]:
        interruption = Interruption()
        running = asyncio.create_task(runner.run(job(), Lease(NAME, 7, "w"), interruption))
        begun = time.monotonic()
        if say is not None:
            await asyncio.to_thread(within, (tmp_path / "began").exists, "it begins")
            begun = time.monotonic()
            interruption.give(say)
        return await running, time.monotonic() - begun

    environment = {"PATH": os.environ["PATH"], "SKILL_FLEET_DATABASE_URL": URL, "OPENAI_API_KEY": "sk-123456"}
    runner = ChildRunner((sys.executable, "-c", program), environment, tmp_path, **options)
    return asyncio.run(both())


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("raise SystemExit(0)", "concluded"),
        ("raise SystemExit(75)", "interrupted"),
        ("raise SystemExit(76)", "lost"),
        ("raise SystemExit(1)", "crashed"),
        ("import os; os.kill(os.getpid(), 9)", "crashed"),
        ("import os; os.abort()", "crashed"),
    ],
)
def test_how_it_ends_says_what_it_was(tmp_path: Path, program: str, kind: str) -> None:
    assert run(tmp_path, program)[0].kind == kind


def test_it_is_told_which_job_it_is_and_nothing_secret(tmp_path: Path) -> None:
    run(tmp_path, "import sys; open('said', 'w').write(' '.join(sys.argv[1:]))")
    assert (tmp_path / "said").read_text() == f"{NAME} 7 w"


def test_the_last_words_of_a_crash_are_kept_without_secrets(tmp_path: Path) -> None:
    program = f"""
import sys
sys.stderr.write('x' * 100_000 + ' at {URL} with p@ssword, p%40ssword and sk-123456')
raise SystemExit(3)"""
    error = run(tmp_path, program)[0].error
    assert error is not None
    assert error["exit"] == 3
    assert "ended with status 3" in error["message"]
    assert len(error["stderr"]) <= 4096
    assert error["stderr"].endswith("xx at [secret] with [secret], [secret] and [secret]")


def test_one_that_listens_is_interrupted_at_once(tmp_path: Path) -> None:
    program = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: (open('heard', 'w'), sys.exit(75)))
open('began', 'w')
time.sleep(300)"""
    outcome, took = run(tmp_path, program, say="cancelled", grace_seconds=300)
    assert outcome.kind == "interrupted"
    assert (tmp_path / "heard").exists()
    assert took < AT_ONCE


def test_one_that_dies_of_the_interruption_has_not_crashed(tmp_path: Path) -> None:
    program = "import time; open('began', 'w'); time.sleep(300)"
    outcome, took = run(tmp_path, program, say="paused", grace_seconds=300)
    assert outcome.kind == "interrupted"
    assert took < AT_ONCE


DEAF = """
import os, signal, subprocess, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])
open('pids', 'w').write(f'{os.getpid()} {grandchild.pid}')
os.rename('pids', 'began')
time.sleep(300)"""


def both_gone(tmp_path: Path) -> bool:
    pids = [int(pid) for pid in (tmp_path / "began").read_text().split()]
    assert len(pids) == 2
    return bool(within(lambda: all(gone(pid) for pid in pids), "both are gone"))


def test_one_that_does_not_listen_is_killed_with_all_it_has_started(tmp_path: Path) -> None:
    outcome, took = run(tmp_path, DEAF, say="cancelled", grace_seconds=0.5)
    assert outcome.kind == "interrupted"
    assert 0.4 < took < AT_ONCE
    assert both_gone(tmp_path)


def test_one_that_has_lost_its_job_is_killed_at_once(tmp_path: Path) -> None:
    outcome, took = run(tmp_path, DEAF, say="lease_lost", grace_seconds=300)
    assert outcome.kind == "lost"
    assert took < AT_ONCE
    assert both_gone(tmp_path)


def test_nothing_is_left_of_a_run_that_is_cancelled(tmp_path: Path) -> None:
    async def cancelled() -> None:
        runner = ChildRunner((sys.executable, "-c", DEAF), dict(os.environ), tmp_path)
        running = asyncio.create_task(runner.run(job(), Lease(NAME, 1, "w"), Interruption()))
        await asyncio.to_thread(within, (tmp_path / "began").exists, "it begins")
        running.cancel()
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    assert both_gone(tmp_path)


WORKER = """
import asyncio, os, sys
from pathlib import Path
from skill_fleet.jobs.records import Job, Lease
from skill_fleet.jobs.runner import Interruption
from skill_fleet.jobs.supervise import ChildRunner
job = Job(**{name: None for name in Job.__dataclass_fields__} | {"job_id": "j"})
runner = ChildRunner((sys.executable, "-c", sys.argv[1]), dict(os.environ), Path.cwd())
asyncio.run(runner.run(job, Lease("j", 1, "w"), Interruption()))"""
LISTENER = """
import os, pathlib, sys
pathlib.Path('began').write_text(str(os.getpid()))
sys.stdin.read()
pathlib.Path('ended').write_text('by the end of its input')"""


def test_its_input_ends_when_its_worker_is_killed_and_not_before(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WORKER, LISTENER], cwd=tmp_path) as worker:
        within((tmp_path / "began").exists, "it begins")
        time.sleep(0.3)
        assert not (tmp_path / "ended").exists()
        worker.kill()
    within((tmp_path / "ended").exists, "it ends")


def test_one_that_hangs_is_killed_at_once_which_is_a_crash(tmp_path: Path) -> None:
    outcome, took = run(tmp_path, DEAF, say="silent", grace_seconds=300)
    assert outcome.kind == "crashed"
    assert outcome.error is not None
    assert "it hung, no call" in outcome.error["message"]
    assert "memory" not in outcome.error["hint"]
    assert took < AT_ONCE
    assert both_gone(tmp_path)


def test_a_program_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    runner = ChildRunner((str(tmp_path / "nowhere"),), {}, tmp_path)
    with pytest.raises(StorageError, match="cannot be started: No such file or directory"):
        asyncio.run(runner.run(job(), Lease(NAME, 1, "w"), Interruption()))
