"""A job whose process somebody else ends goes on after a pause that can be broken, and not without end."""

import asyncio
import time
from collections.abc import Callable

import pytest
from store_help import backdate, queued, taken

from skill_fleet.jobs.database import Database
from skill_fleet.jobs.holding import DEATHS
from skill_fleet.jobs.records import Job, Lease
from skill_fleet.jobs.runner import Interruption, Outcome
from skill_fleet.jobs.store import JobStore
from skill_fleet.jobs.workflow import CRASHES, JobWork

LONGEST = 30.0


class EndedFromOutside:
    """Ends as a process does that somebody sent a signal to, or crashes; and counts how often."""

    def __init__(self, kind: str = "interrupted") -> None:
        self.runs = 0
        self._outcome = Outcome(kind, None)  # type: ignore[arg-type]

    async def run(self, job: Job, lease: Lease, interruption: Interruption) -> Outcome:
        self.runs += 1
        return self._outcome


class Told(JobStore):
    """Says something right after a process was noted to have been cut off."""

    say: Callable[[], None]

    def cut_off(self, lease: Lease, error: object) -> int:
        deaths = super().cut_off(lease, error)  # type: ignore[arg-type]
        self.say()
        return deaths


async def until(so: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + LONGEST
    while not await asyncio.to_thread(so):
        assert time.monotonic() < end, what
        await asyncio.sleep(0.01)


def kinds(store: JobStore, job: Job) -> list[str]:
    return [event.kind for event in store.events(job.job_id)]


def test_at_the_bound_it_is_given_up(database: Database) -> None:
    store, runner = JobStore(database), EndedFromOutside()
    job = queued(store)
    backdate(database, job.job_id, deaths=DEATHS - 1, crashes=1)
    assert asyncio.run(JobWork(store, runner, "w").take_up(job.job_id, 1)) == "failed"
    failed = store.get(job.job_id)
    assert (runner.runs, failed.deaths, failed.crashes) == (1, DEATHS, 1)
    assert failed.error is not None
    assert failed.error["code"] == "ended_from_outside"
    assert f"{DEATHS} times without its getting further; by itself it crashed once." in failed.message
    assert store.counts().failures == {"ended_from_outside": 1}


def test_both_ways_to_be_ended_from_outside_are_told_alike(database: Database) -> None:
    store = JobStore(database)
    cut_off, died = queued(store, "a"), queued(store, "b")
    for job in (cut_off, died):
        backdate(database, job.job_id, deaths=DEATHS - 1)
    asyncio.run(JobWork(store, EndedFromOutside(), "w").take_up("a", 1))
    taken(store, died)
    store.claim("b", 1, "next")
    errors = [store.get(job.job_id).error for job in (cut_off, died)]
    assert errors[0] is not None
    assert errors[0] | {"message": errors[0]["message"].replace("job a", "job b")} == errors[1]


def test_a_worker_that_stops_just_then_hands_it_back(database: Database) -> None:
    store = Told(database)
    job = queued(store)
    work = JobWork(store, EndedFromOutside(), "w")
    store.say = lambda: work.stop("worker_stops")

    async def stopped() -> None:
        working = asyncio.create_task(work.take_up(job.job_id, 1))
        await until(lambda: kinds(store, job)[-1] == "handed_back", "it is handed back")
        working.cancel()

    asyncio.run(stopped())
    assert kinds(store, job)[-2:] == ["interrupted_from_outside", "handed_back"]
    assert store.get(job.job_id).deaths == 1


@pytest.mark.parametrize("kind", ["interrupted", "crashed"])
@pytest.mark.parametrize("word", ["cancelled", "paused", "stops"])
def test_the_pause_before_it_goes_on_can_be_broken(
    database: Database, word: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skill_fleet.jobs.workflow._PAUSE_SECONDS", 10 * LONGEST)
    monkeypatch.setattr("skill_fleet.jobs.workflow._LONGEST_PAUSE_SECONDS", 10 * LONGEST)
    store, runner = JobStore(database), EndedFromOutside(kind)
    job = queued(store)
    backdate(database, job.job_id, deaths=3, crashes=CRASHES - 2)
    work = JobWork(store, runner, "w")

    async def broken() -> None:
        working = asyncio.create_task(work.take_up(job.job_id, 1))
        noted = "crashed" if kind == "crashed" else "interrupted_from_outside"
        await until(lambda: kinds(store, job)[-1] == noted, "its end is noted")
        if word == "stops":
            work.stop("worker_stops")
        else:
            store.want(job.job_id, word, None)  # type: ignore[arg-type]
        ended = "queued" if word == "stops" else word
        await until(lambda: store.get(job.job_id).status == ended, "the word is heard")
        if word == "stops":
            working.cancel()
        else:
            assert await working == word

    asyncio.run(broken())
    assert runner.runs == 1
