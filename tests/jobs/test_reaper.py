"""Who is dead, and what becomes of what they had; nobody works here."""

import sqlalchemy as sa
from store_help import backdate

from jobs.workers_help import Fleet, within
from skill_fleet.jobs.reaper import Reaped, Reaper
from skill_fleet.jobs.tables import JOB, WORKER
from skill_fleet.jobs.worker_store import WorkerStore

NOTHING = Reaped()
HEARTBEAT = 300.0
"""What a test takes is far below it."""


def reaper(fleet: Fleet) -> Reaper:
    return Reaper(fleet.database, fleet.queue, fleet.store, WorkerStore(fleet.database), HEARTBEAT)


def registered(fleet: Fleet, *names: str, silent_for: float = 0.0) -> None:
    store = WorkerStore(fleet.database)
    for name in names:
        store.register(name, host="here", pid=1, version="1")
        last = sa.update(WORKER).where(WORKER.c.worker_id == name)
        aged = last.values(heartbeat_at=WORKER.c.heartbeat_at - silent_for)
        fleet.database.write(lambda db, aged=aged: db.execute(aged))


def states(fleet: Fleet) -> dict[str, str]:
    return {worker.worker_id: worker.state for worker in WorkerStore(fleet.database).list()}


def test_where_nobody_is_dead_nothing_is_done(fleet: Fleet) -> None:
    registered(fleet, "a")
    fleet.job()
    assert reaper(fleet).reap() == NOTHING
    assert states(fleet) == {"a": "alive"}


def test_who_was_silent_too_long_is_dead_on_postgresql(fleet: Fleet) -> None:
    registered(fleet, "a")
    registered(fleet, "b", silent_for=HEARTBEAT + 1)
    dead = reaper(fleet).reap().dead
    # The embedded store has one worker, who holds its lock: nobody dies of silence there.
    assert dead == (() if fleet.database.is_sqlite else ("b",))
    assert not WorkerStore(fleet.database).beat("b") or fleet.database.is_sqlite


def test_the_gone_are_remembered_for_an_hour(fleet: Fleet) -> None:
    registered(fleet, "now")
    registered(fleet, "lately", silent_for=600)
    registered(fleet, "long-ago", silent_for=4000)
    WorkerStore(fleet.database).declare_others_dead("now")
    reaper(fleet).reap()
    assert states(fleet) == {"lately": "dead", "now": "alive"}


def test_a_job_that_the_queue_has_lost_is_queued_again_once(fleet: Fleet) -> None:
    job = fleet.job(steps=1)
    fleet.store.claim(job, 1, "nobody")
    fleet.queue.take_out(f"{job}.1")
    assert reaper(fleet).reap().rescued == (f"{job}.1",)
    assert reaper(fleet).reap() == NOTHING
    assert fleet.store.get(job).status == "queued"
    assert fleet.queue.is_live(f"{job}.2")


def test_a_job_that_waits_for_nobody_is_queued_again_once(fleet: Fleet) -> None:
    lost, waits, young, told_late = (fleet.job(steps=1) for _ in range(4))
    for job in (lost, young):
        fleet.queue.take_out(f"{job}.1")  # as when a worker could not take it up
    old = {"enqueued_at": JOB.c.enqueued_at - HEARTBEAT - 1}
    for job in (lost, waits):
        backdate(fleet.database, job, **old)
    backdate(fleet.database, told_late, enqueued_at=None)
    assert reaper(fleet).reap().rescued == (f"{lost}.1",)
    assert reaper(fleet).reap() == NOTHING
    assert (fleet.store.get(lost).status, fleet.store.get(lost).attempt) == ("queued", 2)
    assert fleet.queue.is_live(f"{lost}.2")
    assert [fleet.store.get(job).attempt for job in (waits, young, told_late)] == [1, 1, 1]


def test_a_wish_that_nobody_lived_to_see_is_granted_by_the_rescue(fleet: Fleet) -> None:
    job = fleet.job(steps=1)
    fleet.store.claim(job, 1, "nobody")
    fleet.store.want(job, "cancelled", None)
    fleet.queue.take_out(f"{job}.1")
    reaper(fleet).reap()
    assert fleet.store.get(job).status == "cancelled"
    assert not fleet.queue.is_live(f"{job}.2")


def test_two_reapers_do_not_do_it_at_the_same_time(fleet: Fleet) -> None:
    one, two = reaper(fleet), reaper(fleet)
    with one._alone() as first, two._alone() as second:
        assert first
        assert second == fleet.database.is_sqlite
    with two._alone() as again:
        assert again


def test_a_reaper_that_stands_still_keeps_nobody_waiting(fleet: Fleet) -> None:
    if fleet.database.is_sqlite:
        return
    still = Reaper(fleet.database, fleet.queue, fleet.store, WorkerStore(fleet.database), 0.2)
    other = reaper(fleet)
    with still._alone() as first:
        assert first
        within(lambda: alone(other), "that another may")


def alone(reaper: Reaper) -> bool:
    with reaper._alone() as it_is:
        return it_is
