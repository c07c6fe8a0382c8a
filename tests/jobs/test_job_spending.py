"""What jobs spend by day, and what is counted for the metrics."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from store_help import new_job, queued, taken

from skill_fleet.foundation.errors import BudgetExhausted
from skill_fleet.jobs.database import Database
from skill_fleet.jobs.records import Spending
from skill_fleet.jobs.spending import SpentToday
from skill_fleet.jobs.store import JobStore
from skill_fleet.jobs.tables import API_KEY, SPENT_ON, database_now
from skill_fleet.jobs.worker_store import WorkerStore

RESULT = {
    "optimizer": "gepa",
    "simulated": True,
    "verdict": "improved",
    "accuracy": {"baseline": 0.1, "optimized": 0.8},
    "optimized": {"validation": 0.6, "test": 0.7},
    "rounds": [{"round": 1, "seconds": 0.5}, {"round": 2, "seconds": 20.0}, {"round": 3, "seconds": 1e6}],
}


def a_day_later(database: Database) -> None:
    database.write(lambda db: db.execute(sa.update(SPENT_ON).values(day=SPENT_ON.c.day - 1)))


def test_what_is_left_of_a_cap_is_reserved_until_the_job_is_over(database: Database) -> None:
    store = JobStore(database)
    job = queued(store, "a", owner="k", max_usd=2.0, max_calls=10)
    queued(store, "others", owner="x", max_usd=50.0)
    assert store.spent_today("k") == SpentToday(0.0, 0, 0, 2.0, 10, 0, 0)
    lease = taken(store, job)
    store.progress(lease, spending=Spending(4, 0.5, 1))
    assert store.spent_today("k") == SpentToday(0.5, 1, 4, 1.5, 6, 0, 0)
    store.conclude(lease, "stopped", spending=Spending(5, 0.75, 0))
    assert store.spent_today("k") == SpentToday(0.75, 0, 5, 0.0, 0, 0, 0)
    assert store.spent_today(None) == SpentToday(0.0, 0, 0, 0.0, 0, 0, 0)
    assert store.spent_today("x").uncapped_calls == 1


def test_each_day_has_its_own_spending(database: Database) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a", owner="k", max_usd=10.0, max_calls=100))
    store.progress(lease, spending=Spending(4, 4.0, 0))
    a_day_later(database)
    assert store.spent_today("k") == SpentToday(0.0, 0, 0, 6.0, 96, 0, 0)
    store.progress(lease, spending=Spending(5, 4.5, 2))
    assert store.spent_today("k") == SpentToday(0.5, 2, 1, 5.5, 95, 0, 0)


def test_removing_a_job_gives_nothing_back(database: Database) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a", owner="k", max_usd=1.0, max_calls=9))
    store.conclude(lease, "succeeded", spending=Spending(4, 0.5, 0))
    store.remove("a", "k")
    assert store.spent_today("k") == SpentToday(0.5, 0, 4, 0.0, 0, 0, 0)


def test_a_job_that_spent_more_than_its_cap_reserves_nothing(database: Database) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a", owner="k", max_usd=1.0, max_calls=3))
    store.progress(lease, spending=Spending(4, 1.5, 0))
    assert store.spent_today("k") == SpentToday(1.5, 0, 4, 0.0, 0, 0, 0)


def test_many_starts_at_once_never_get_more_than_the_day(database: Database) -> None:
    row = {"key_id": "k", "name": "", "scopes": "run", "secret_sha256": "", "created_at": database_now()}
    database.write(lambda db: db.execute(API_KEY.insert().values(row)))
    store = JobStore(database)

    def admit(today: SpentToday) -> tuple[float, int]:
        left = 10 - today.calls - today.reserved_calls
        if left <= 0:
            raise BudgetExhausted("Nothing is left.", code="key_budget")
        return 1.0, min(3, left)

    def start(number: int) -> int:
        try:
            return store.create(new_job(f"j{number}", owner="k"), admit=admit)[0].max_calls or 0
        except BudgetExhausted:
            return 0

    with ThreadPoolExecutor(8) as pool:
        caps = sorted(pool.map(start, range(16)))
    assert caps == [0] * 12 + [1, 3, 3, 3]
    assert store.spent_today("k").reserved_calls == 10


def test_counts_of_an_empty_service(database: Database) -> None:
    counts = JobStore(database).counts()
    assert (counts.jobs, counts.workers, counts.failures, counts.rounds, counts.last_results) == (
        {},
        {},
        {},
        {},
        {},
    )
    assert (counts.oldest_queued_seconds, counts.calls, counts.usd) == (None, 0, 0.0)


def test_counts_of_a_busy_one(database: Database) -> None:
    store = JobStore(database)
    queued(store, "waiting")
    queued(store, "made", kind="creation")
    lease = taken(store, queued(store, "done"))
    store.conclude(lease, "succeeded", result=RESULT, spending=Spending(7, 0.5, 1))
    for name in ("f1", "f2"):
        lease = taken(store, queued(store, name))
        store.conclude(
            lease, "failed", error={"code": "crashed", "message": "m"}, spending=Spending(1, 0.25, 0)
        )
    WorkerStore(database).register("w", host="h", pid=1, version="1")
    counts = store.counts()
    assert counts.jobs == {
        ("optimization", "queued"): 1,
        ("creation", "queued"): 1,
        ("optimization", "succeeded"): 1,
        ("optimization", "failed"): 2,
    }
    assert counts.oldest_queued_seconds is not None
    assert 0 <= counts.oldest_queued_seconds < 600
    assert counts.workers == {"alive": 1}
    assert (counts.calls, counts.usd, counts.usd_unknown_calls) == (9, 1.0, 1)
    assert counts.failures == {"crashed": 2}
    rounds = counts.rounds["gepa"]
    assert (rounds.count, rounds.seconds) == (3, 1_000_020.5)
    assert rounds.within == (1, 1, 1, 2, 2, 2, 2, 2)
    last = counts.last_results["gepa"]
    assert (last.job_id, last.simulated, last.accuracy, last.quality, last.verdict) == (
        "done", True, 0.8, 0.7, "improved",
    )  # fmt: skip


def test_sums_never_fall_when_jobs_are_removed_or_gone_on_with(database: Database) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a"))
    store.conclude(lease, "succeeded", result=RESULT, spending=Spending(7, 0.5, 1))
    lease = taken(store, queued(store, "b"))
    half = RESULT | {"rounds": RESULT["rounds"][:1]}
    store.conclude(lease, "stopped", result=half, error={"code": "budget"})
    store.requeue("b", None)
    before = store.counts()
    assert before.failures == {"budget": 1}, "also when the job went on"
    store.remove("a", None)
    store.conclude(taken(store, store.get("b")), "succeeded", result=RESULT)
    after = store.counts()
    assert after.calls == before.calls
    assert after.last_results["gepa"].job_id == "b"
    assert after.rounds["gepa"].count == 6, "each round once, however often its job was concluded"


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"optimizer": 3},
        {"optimizer": "x\0", "rounds": 3},
        {"optimizer": "x", "rounds": ["a", {"seconds": "b"}]},
        {"optimizer": "x", "accuracy": [], "optimized": 1, "verdict": {}},
        {"optimizer": "x", "rounds": [{"seconds": float("nan")}, {"seconds": True}]},
    ],
    ids=json.dumps,
)
def test_a_result_of_another_form_is_no_error(database: Database, result: dict) -> None:
    store = JobStore(database)
    store.conclude(taken(store, queued(store, "a")), "succeeded", result=result)
    assert store.counts().rounds == {}
