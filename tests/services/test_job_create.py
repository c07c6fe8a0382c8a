"""A job that writes a skill: once, and done again from the journal where it was cut off."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from job_harness import SLOW, TASK, Stand

from skill_fleet.jobs.child import CONCLUDED


@pytest.fixture(params=["sqlite", "postgresql"])
def one(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stand]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    made = Stand(tmp_path / "stand", url, {"TEST_LATENCY": "0.05"})
    yield made
    made.close()


def _skills(one: Stand, workspace: str = "one") -> list[Path]:
    return sorted((one.root / workspace / "skills").rglob("SKILL.md"))


def _kill_when(one: Stand, job: object, true: Callable[[], bool]) -> None:
    process = one.start(one.claimed(job), command=SLOW)  # type: ignore[arg-type]
    one.until(lambda: true() or process.poll() is not None, "the moment")
    process.kill()
    process.wait()


def test_killed_before_and_after_it_wrote_there_is_one_skill_and_nothing_is_paid_twice(one: Stand) -> None:
    job = one.job("n", {"task": TASK, "best_of": 2}, "creation")
    _kill_when(one, job, lambda: len(one.asked()) >= 4)
    _kill_when(one, job, lambda: bool(_skills(one)))
    if one.now(job).status == "running":
        assert one.run(job) == CONCLUDED, one.stderr()
    found = one.now(job)
    assert found.status == "succeeded", found.error
    assert found.result is not None
    assert [str(file) for file in _skills(one)] == [str(one.root / "one" / found.result["path"])]
    assert len(found.result["drafts"]) == 2
    assert one.paid_twice() == 0
    assert found.calls == len(one.attempts())


def test_a_skill_that_is_there_is_not_overwritten(one: Stand) -> None:
    first = one.job("g", {"task": TASK}, "creation")
    assert one.run(first) == CONCLUDED, one.stderr()
    [file] = _skills(one)
    before = file.read_bytes()
    file.write_bytes(before + b"\nMine.\n")
    again = one.job("h", {"task": TASK}, "creation")
    assert one.run(again) == CONCLUDED, one.stderr()
    found = one.now(again)
    assert (found.status, found.error and found.error["code"]) == ("failed", "exists")
    assert file.read_bytes() == before + b"\nMine.\n"
