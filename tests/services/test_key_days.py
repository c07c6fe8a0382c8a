"""Keys: what they are called, what they may spend a day, and that no order of things spends more."""

import asyncio
import random
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parent))

from service_rig import Rig, opened_rig, rig

from skill_fleet.foundation.errors import NotFound, UsageError
from skill_fleet.jobs.records import ApiKey, Spending
from skill_fleet.jobs.spending import SpentToday
from skill_fleet.services import jobs, keys
from skill_fleet.services.keys import KeyBudgetSpent, allowance

__all__ = ["opened_rig", "rig"]

# Where nothing depends on the database.
EMBEDDED = pytest.mark.parametrize("opened_rig", ["sqlite"], indirect=True)
NOTHING = SpentToday(0.0, 0, 0, 0.0, 0, 0, 0)


class Noon:
    """A clock that stands at noon UTC."""

    def now(self) -> float:
        return 1_800_014_400.0

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing waits")


def key_of(usd: float | None = None, calls: int | None = None) -> ApiKey:
    return ApiKey("k1", "ci", ("run",), usd, calls, 0.0, None, None)


def test_caps_are_lowered_to_what_is_left_of_the_day():
    key, clock = key_of(10.0, 100), Noon()
    assert allowance(None, NOTHING, (None, 7), clock=clock) == (None, 7)
    assert allowance(key_of(), NOTHING, (3.0, None), clock=clock) == (3.0, None)
    assert allowance(key, NOTHING, (None, None), clock=clock) == (10.0, 100)
    assert allowance(key, NOTHING, (4.0, 500), clock=clock) == (4.0, 100)
    today = replace(NOTHING, usd=2.0, calls=30, reserved_usd=5.0, reserved_calls=50)
    assert allowance(key, today, (None, None), clock=clock) == (3.0, 20)
    assert allowance(key, today, (None, None), clock=clock, spent=(1.0, 10)) == (4.0, 30)


@pytest.mark.parametrize(
    ("today", "unit"),
    [
        (replace(NOTHING, usd=10.0), "dollars"),
        (replace(NOTHING, reserved_usd=10.0), "dollars"),
        (replace(NOTHING, usd=6.0, reserved_usd=4.0), "dollars"),
        (replace(NOTHING, uncapped_usd=1), "dollars"),
        (replace(NOTHING, calls=100), "calls"),
        (replace(NOTHING, reserved_calls=100), "calls"),
        (replace(NOTHING, uncapped_calls=1), "calls"),
    ],
)
def test_nothing_left_is_refused_until_midnight(today, unit):
    with pytest.raises(KeyBudgetSpent, match=f"of the {unit} that the key 'ci'") as caught:
        allowance(key_of(10.0, 100), today, (0.5, 5), clock=Noon())
    assert caught.value.code == "key_budget"
    assert caught.value.retry_after == 12 * 3600 + 1


@dataclass
class Job:
    """As much of a job as its key's day depends on."""

    cap: float
    calls_cap: int
    usd: float = 0.0
    calls: int = 0
    under_way: bool = True


class Days:
    """A key's jobs over several days, with the books that the store keeps."""

    def __init__(self, key: ApiKey) -> None:
        self.key = key
        self.jobs: list[Job] = []
        self.today = [0.0, 0]

    def books(self) -> SpentToday:
        under_way = [job for job in self.jobs if job.under_way]
        usd = sum(job.cap - job.usd for job in under_way)
        calls = sum(job.calls_cap - job.calls for job in under_way)
        return SpentToday(float(self.today[0]), 0, int(self.today[1]), usd, calls, 0, 0)

    def step(self, what: str, which: int, amount: float) -> None:
        try:
            self._do(what, which, amount)
        except KeyBudgetSpent:
            return

    def _do(self, what: str, which: int, amount: float) -> None:
        if what == "midnight":
            self.today = [0.0, 0]
        elif what == "start":
            caps = allowance(self.key, self.books(), (amount, int(amount * 10)), clock=Noon())
            self.jobs.append(Job(*caps))
        elif self.jobs:
            job = self.jobs[which % len(self.jobs)]
            if what == "end":
                job.under_way = False
            elif what == "spend" and job.under_way:
                usd, calls = min(amount, job.cap - job.usd), min(int(amount), job.calls_cap - job.calls)
                job.usd, job.calls = job.usd + max(usd, 0), job.calls + max(calls, 0)
                self.today = [self.today[0] + max(usd, 0), self.today[1] + max(calls, 0)]
            elif what == "resume" and not job.under_way:
                asked = (job.cap + amount, job.calls_cap + int(amount))
                spent = (job.usd, job.calls)
                job.cap, job.calls_cap = allowance(self.key, self.books(), asked, clock=Noon(), spent=spent)
                job.under_way = True


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["start", "spend", "spend", "end", "resume", "midnight"]),
        st.integers(0, 5),
        st.floats(0.01, 30.0),
    ),
    max_size=60,
)


@given(STEPS, st.floats(0.5, 40.0), st.integers(1, 60))
def test_no_order_of_starts_ends_and_resumes_spends_more_than_a_day(steps, usd, calls):
    days = Days(key_of(usd, calls))
    for step in steps:
        days.step(*step)
        assert days.today[0] <= usd + 1e-6
        assert days.today[1] <= calls


def start(rig: Rig, key: ApiKey, **budget: Any):
    return asyncio.run(jobs.start_optimization_job(rig.service, {"budget": budget}, owner=key))[0]


def test_the_books_of_the_store_hold_a_day_whatever_comes(rig):
    """The same law with the real books: a seeded walk over starts, spending, ends, pauses and resumes."""
    key = rig.key(usd_per_day=20.0, calls_per_day=400)
    store, walk = rig.service.jobs, random.Random(4)
    under_way: dict[str, Any] = {}
    ended: list[str] = []
    refused = 0
    for _ in range(60):
        what = walk.choice(["start", "spend", "spend", "end", "resume"])
        try:
            if what == "start":
                job = start(rig, key, max_cost=walk.uniform(1, 12), max_calls=walk.randint(10, 250))
                under_way[job.job_id] = rig.taken(job)
            elif what == "resume" and ended:
                job_id = ended.pop()
                asked = {"budget": {"max_cost": 50.0, "max_calls": 1000}}
                job = asyncio.run(jobs.resume_job(rig.service, job_id, key, asked))
                under_way[job_id] = rig.taken(job)
            elif under_way:
                job_id = walk.choice(sorted(under_way))
                job = store.get(job_id)
                usd = job.usd + walk.random() * (job.max_usd - job.usd)
                calls = walk.randint(job.calls, job.max_calls)
                if what == "spend":
                    store.progress(under_way[job_id], spending=Spending(calls, usd, 0))
                else:
                    spending = Spending(calls, usd, 0)
                    lease = under_way.pop(job_id)
                    store.conclude(lease, "stopped", result={}, error=None, message="", spending=spending)
                    ended.append(job_id)
        except KeyBudgetSpent:
            refused += 1
        today = store.spent_today(key.key_id)
        assert today.usd + today.reserved_usd <= 20.0 + 1e-6
        assert today.calls + today.reserved_calls <= 400
    assert refused, "the walk met the cap"


def test_the_last_dollar_goes_to_one_of_many_at_once(opened_rig):
    rigs = [opened_rig(), opened_rig()]
    key = rigs[0].key(usd_per_day=1.0)
    gate = threading.Barrier(8)
    got: list[Any] = []

    def one(rig: Rig) -> None:
        gate.wait()
        try:
            got.append(start(rig, key, max_cost=1.0))
        except KeyBudgetSpent:
            got.append(None)

    threads = [threading.Thread(target=one, args=(rigs[number % 2],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(job is not None for job in got) == 1
    assert len(got) == 8
    assert rigs[0].service.jobs.spent_today(key.key_id).reserved_usd == 1.0


def test_a_paused_job_is_admitted_again_and_an_admin_pays_with_the_owners_day(rig):
    owner, admin = rig.key(usd_per_day=5.0), rig.key("admin", usd_per_day=0.01)
    first = start(rig, owner, max_cost=4.0)
    asyncio.run(jobs.pause_job(rig.service, first.job_id, owner))
    second = start(rig, owner)
    assert second.max_usd == 5.0, "what was paused is not set aside"
    with pytest.raises(KeyBudgetSpent):
        asyncio.run(jobs.resume_job(rig.service, first.job_id, admin))
    assert rig.service.jobs.get(first.job_id).status == "paused"
    asyncio.run(jobs.cancel_job(rig.service, second.job_id, owner))
    assert asyncio.run(jobs.resume_job(rig.service, first.job_id, admin)).max_usd == 4.0


@EMBEDDED
def test_the_check_is_made_with_the_caps_that_will_hold(rig):
    key = rig.key(usd_per_day=2.0)
    start(rig, key, max_cost=50.0)
    budget = rig.helper.asked[0][1]["request"]["budget"]
    assert budget["max_cost"] == 2.0


def test_a_key_is_made_listed_and_revoked(rig):
    key, secret = keys.create_key(rig.service, " CI ", ["run", "read"], usd_per_day=3.0, calls_per_day=9)
    assert key.name == "CI"
    assert secret.startswith(f"sf_{key.key_id}_")
    assert rig.service.keys.find(secret) is not None
    start(rig, key)
    (shown,) = keys.list_keys(rig.service)
    assert (shown["key_id"], shown["scopes"], shown["usd_per_day"]) == (key.key_id, ["read", "run"], 3.0)
    assert shown["today"] == {"usd": 0.0, "calls": 0, "usd_unknown_calls": 0}
    assert secret.rpartition("_")[2] not in repr(shown)
    assert keys.revoke_key(rig.service, key.key_id).revoked_at is not None
    assert rig.service.keys.find(secret) is None
    lines = [
        (line.action, line.subject) for line in rig.service.audit.list() if line.action.startswith("key_")
    ]
    assert lines == [("key_revoked", key.key_id), ("key_created", key.key_id)]
    assert all(secret.rpartition("_")[2] not in repr(line) for line in rig.service.audit.list())
    with pytest.raises(NotFound):
        keys.revoke_key(rig.service, "nobody")


@EMBEDDED
@pytest.mark.parametrize(
    ("name", "scopes", "caps"),
    [
        ("", ["run"], {}),
        ("  ", ["run"], {}),
        ("a\nb", ["run"], {}),
        ("x" * 101, ["run"], {}),
        ("ci", [], {}),
        ("ci", ["root"], {}),
        ("ci", ["run"], {"usd_per_day": 0.0}),
        ("ci", ["run"], {"usd_per_day": -1.0}),
        ("ci", ["run"], {"usd_per_day": float("nan")}),
        ("ci", ["run"], {"usd_per_day": float("inf")}),
        ("ci", ["run"], {"calls_per_day": 0}),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(opened_rig, name, scopes, caps):
    service = opened_rig().service
    with pytest.raises(UsageError):
        keys.create_key(service, name, scopes, **caps)
    assert service.keys.list() == []
