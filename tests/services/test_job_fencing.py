"""What a job publishes is fenced: who lost the job, or cannot ask for it, writes nothing."""

import json
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

sys.path.append(str(Path(__file__).parent))

from job_harness import TASK, Stand, small_run

from skill_fleet.config.load import load
from skill_fleet.foundation.errors import LeaseLost, StorageError
from skill_fleet.jobs.child import Child
from skill_fleet.jobs.records import Job, JobEvent, Lease
from skill_fleet.jobs.store import JobStore
from skill_fleet.optimization.ending import sealed
from skill_fleet.services.context import Context
from skill_fleet.services.job_create import create
from skill_fleet.services.job_ending import Ended
from skill_fleet.services.job_work import optimize

Happening = Callable[["Happens"], None]


class Killed(BaseException):
    """The process is gone."""


class Happens(JobStore):
    """The store as a process sees it to which something happens at a moment.

    Args:
        stand: Whose store.
        at: After the answer to which question: `told` (the events were read), or the kind of an event; with
            `!` before it as soon as that event is stored, before the process hears of it.
        what: What happens.
    """

    def __init__(self, stand: Stand, at: str, what: Happening) -> None:
        super().__init__(stand.database)
        self.stand, self.at, self.what = stand, at, what
        self.away = False
        self.happened = 0
        self._seen = False

    def append(self, lease: Lease, events: Sequence[tuple[str, Mapping[str, Any]]]) -> int:
        self._answers()
        last = super().append(lease, events)
        kinds = {"tested" if data.get("program") == "optimized" else kind for kind, data in events}
        if self.at.removeprefix("!") in kinds:
            self._seen = True
            if self.at.startswith("!"):
                self._now()
        return last

    def progress(self, lease: Lease, **told: Any) -> Any:
        self._answers()
        wanted = super().progress(lease, **told)
        if self._seen and not self.at.startswith("!"):
            self._now()
        return wanted

    def events(self, job_id: str, after: int = 0, limit: int = 500) -> list[JobEvent]:
        self._answers()
        found = super().events(job_id, after, limit)
        if self.at == "told" and not found:  # the last page
            self._now()
        return found

    def _answers(self) -> None:
        if self.away:
            raise StorageError("The store does not answer.", code="unavailable")

    def _now(self) -> None:
        if not self.happened:
            self.happened += 1
            self.what(self)


def another_takes_it_up(store: Happens) -> None:
    job = store.stand.store.page()[0]
    assert isinstance(store.stand.store.claim(job.job_id, job.attempt, "another"), Lease)


def the_store_is_away(store: Happens) -> None:
    store.away = True


def it_is_killed(_store: Happens) -> None:
    raise Killed


@pytest.fixture(params=["sqlite", "postgresql"])
def one(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stand]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    made = Stand(tmp_path / "stand", url)
    yield made
    made.close()


def done(one: Stand, job: Job, store: JobStore, workspace: str = "one") -> Ended:
    """The work of a job in this process, under a new lease."""
    environ = {} if one.url is None else {"SKILL_FLEET_DATABASE_URL": one.url}
    lease = one.claimed(job)
    context = replace(Context(load(one.workspace(workspace), environ=environ)), lease=lease)
    child = Child(store, one.files, lease, leave=[].append)
    work = create if job.kind == "creation" else optimize
    return work(context, one.now(job), child)


def below(one: Stand, folder: str, workspace: str = "one") -> list[Path]:
    return [file for file in (one.root / workspace / folder).rglob("*") if file.is_file()]


def optimization(one: Stand) -> Job:
    return one.job("f", small_run(optimizer="labeled_few_shot"))


def readings(one: Stand) -> list[int]:
    """The numbers of all readings of sealed tests that were counted."""
    if one.url is None:
        with closing(sqlite3.connect(one.root / "one" / ".skill-fleet" / "ledger.sqlite")) as files:
            if not files.execute("select 1 from sqlite_master where name='test_reading'").fetchone():
                return []
            return [number for (number,) in files.execute("select number from test_reading")]
    with psycopg.connect(one.url) as db:
        return [number for (number,) in db.execute("select number from skill_fleet.test_reading")]


def run_result(one: Stand, job: Job) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (one.root / "one" / ".skill-fleet" / "runs" / job.job_id / "result.json").read_text()
    )
    return found


def test_taken_up_between_its_test_and_publishing_it_publishes_nothing(one: Stand) -> None:
    job = optimization(one)
    store = Happens(one, "tested", another_takes_it_up)
    with pytest.raises(LeaseLost):
        done(one, job, store)
    assert store.happened == 1
    assert below(one, "config") == []
    assert run_result(one, job)["stop_reason"] == "lease"
    assert done(one, job, one.store).status == "succeeded"
    assert {file.name for file in below(one, "config")} == {"small.json", "small.manifest.json"}
    assert one.paid_twice() == 0


def test_who_lost_the_job_counts_no_reading_of_the_sealed_test(
    one: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = one.job("r", small_run())  # it finds something better, which is a reading
    store = Happens(one, "never", another_takes_it_up)
    counted = sealed.counted_reading

    def lost_when_it_has_measured(*given: Any) -> int:
        store._now()
        return counted(*given)

    with monkeypatch.context() as patch:
        patch.setattr(sealed, "counted_reading", lost_when_it_has_measured)
        with pytest.raises(LeaseLost):
            done(one, job, store)
    assert store.happened == 1
    assert readings(one) == []
    assert run_result(one, job)["optimized"]["test"] is None, "nobody sees what is not counted"
    assert done(one, job, one.store).status == "succeeded"
    assert readings(one) == [1]
    assert run_result(one, job)["test_reads"] == 1


def test_cut_off_between_its_test_and_publishing_it_publishes_nothing_and_goes_on_later(one: Stand) -> None:
    job = optimization(one)
    store = Happens(one, "tested", the_store_is_away)
    ended = done(one, job, store)
    assert store.happened == 1
    assert ended.status == "stopped"
    assert ended.error is not None
    assert (ended.error["code"], ended.error["message"]) == ("unavailable", "The store does not answer.")
    assert below(one, "config") == []
    made = len(one.attempts())
    assert done(one, job, one.store).status == "succeeded"
    assert len(one.attempts()) == made, "all was measured before"
    assert below(one, "config")


def test_what_the_run_is_measured_against_is_brought_along_by_its_holder_only(one: Stand) -> None:
    assert done(one, optimization(one), one.store).status == "succeeded"
    job = one.job("g", small_run(optimizer="labeled_few_shot", seed=4))
    with pytest.raises(Killed):
        done(one, job, Happens(one, "baseline", it_is_killed))
    assert "incumbent.json" in one.files.load(job.job_id)
    with pytest.raises(LeaseLost):
        done(one, job, Happens(one, "told", another_takes_it_up), "two")
    assert below(one, "config", "two") == []
    assert done(one, job, one.store, "three").status == "succeeded"
    there = {file.name: file.read_bytes() for file in below(one, "config", "three")}
    assert there == {file.name: file.read_bytes() for file in below(one, "config")}


@pytest.mark.parametrize("moment", ["!baseline", "!tested"])
def test_an_event_that_another_holder_s_store_refuses_stops_the_run_there(one: Stand, moment: str) -> None:
    job = optimization(one)
    store = Happens(one, moment, another_takes_it_up)
    with pytest.raises(LeaseLost):
        done(one, job, store)
    last = (one.root / "one" / ".skill-fleet" / "runs" / job.job_id / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["kind"] for line in last[-2:]] == [
        {"!baseline": "baseline", "!tested": "test"}[moment],
        "finished",
    ], "nothing is done after it"
    assert run_result(one, job)["stop_reason"] == "lease", "and not as if somebody had interrupted it"
    assert below(one, "config") == []


@pytest.mark.parametrize("moment", ["told", "!writing", "writing"])
def test_a_skill_is_not_written_by_who_lost_the_job(one: Stand, moment: str) -> None:
    job = one.job("w", {"task": TASK}, "creation")
    with pytest.raises(LeaseLost):
        done(one, job, Happens(one, moment, another_takes_it_up))
    assert below(one, "skills") == []
    assert done(one, job, one.store).status == "succeeded"
    assert len(below(one, "skills")) == 1


@pytest.mark.parametrize("moment", ["told", "!writing"])
def test_a_skill_is_not_written_where_the_store_does_not_answer(one: Stand, moment: str) -> None:
    job = one.job("s", {"task": TASK}, "creation")
    with pytest.raises(StorageError, match="does not answer"):
        done(one, job, Happens(one, moment, the_store_is_away))
    assert below(one, "skills") == []


@pytest.mark.parametrize(
    ("happens", "error"), [(another_takes_it_up, LeaseLost), (the_store_is_away, StorageError)]
)
def test_what_an_earlier_process_announced_is_no_leave_to_write(
    one: Stand, happens: Happening, error: type[Exception]
) -> None:
    job = one.job("e", {"task": TASK}, "creation")
    with pytest.raises(Killed):
        done(one, job, Happens(one, "!writing", it_is_killed))
    assert below(one, "skills") == []
    with pytest.raises(error):
        done(one, job, Happens(one, "told", happens))
    assert below(one, "skills") == []
    assert done(one, job, one.store).status == "succeeded"
    assert len(below(one, "skills")) == 1
