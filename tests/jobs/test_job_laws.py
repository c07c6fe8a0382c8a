"""The laws of a job, whatever is done to it in whatever order by whoever holds or held it."""

from typing import Any, ClassVar

import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from store_help import new_job

from skill_fleet.foundation.errors import LeaseLost, Removed, StateConflict
from skill_fleet.jobs.database import Database
from skill_fleet.jobs.records import OVER, Job, Lease, Spending
from skill_fleet.jobs.store import JobStore
from skill_fleet.jobs.tables import LEASE

WANTED = st.sampled_from(["paused", "cancelled"])
ENDS = st.sampled_from(["succeeded", "stopped", "failed", "cancelled", "paused"])


class OneJob(RuleBasedStateMachine):
    """One job; the leases ever given for it; and who may write by the books kept here."""

    made: ClassVar[int] = 0

    def __init__(self, database: Database) -> None:
        super().__init__()
        OneJob.made += 1
        self.store = JobStore(database)
        self.job_id = f"law-{OneJob.made}"
        self.seen = self.store.create(new_job(self.job_id))[0]
        self.leases: list[Lease] = []
        self.holder: Lease | None = None
        self.gone = False

    def lease(self, back: int) -> Lease:
        return self.leases[-1 - back % len(self.leases)] if self.leases else Lease(self.job_id, 0, "w")

    def write(self, lease: Lease, how: Any) -> Any:
        """Writes go through exactly for the holder by the books; for all others nothing changes."""
        before = None if self.gone else self.store.get(self.job_id)
        try:
            answer = how()
        except LeaseLost:
            assert lease != self.holder
            assert before is None or self.store.get(self.job_id) == before
            return None
        assert lease == self.holder
        return answer

    def ask(self, how: Any) -> Any:
        try:
            return how()
        except StateConflict:
            return None
        except Removed:
            assert self.gone
            return None

    @rule(attempt=st.integers(1, 3))
    def claim(self, attempt: int) -> None:
        taken = self.ask(lambda: self.store.claim(self.job_id, attempt, f"w{len(self.leases)}"))
        if isinstance(taken, Lease):
            assert all(taken.fence > lease.fence for lease in self.leases)
            self.leases.append(taken)
            self.holder = taken
        elif isinstance(taken, Job) and taken.status != "running":
            self.holder = None

    @rule(wanted=WANTED)
    def want(self, wanted: Any) -> None:
        self.ask(lambda: self.store.want(self.job_id, wanted, None))

    @rule()
    def requeue(self) -> None:
        self.ask(lambda: self.store.requeue(self.job_id, None))

    @rule(attempt=st.integers(1, 3))
    def next_attempt(self, attempt: int) -> None:
        job = self.ask(lambda: self.store.next_attempt(self.job_id, attempt))
        if job is not None and job.status != "running":
            self.holder = None

    @rule(back=st.integers(0, 2), progress=st.floats(0, 1), calls=st.integers(0, 9))
    def progress(self, back: int, progress: float, calls: int) -> None:
        lease = self.lease(back)
        spending = Spending(calls, calls / 8, 0)
        self.write(lease, lambda: self.store.progress(lease, progress=progress, spending=spending))

    @rule(back=st.integers(0, 2), number=st.integers(0, 3))
    def append(self, back: int, number: int) -> None:
        lease = self.lease(back)
        self.write(lease, lambda: self.store.append(lease, [("x", {})] * number))

    @rule(back=st.integers(0, 2))
    def crash(self, back: int) -> None:
        lease = self.lease(back)
        self.write(lease, lambda: self.store.crashed(lease, {"code": "crashed"}))

    @rule(back=st.integers(0, 2), status=ENDS)
    def conclude(self, back: int, status: Any) -> None:
        lease = self.lease(back)
        if self.write(lease, lambda: self.store.conclude(lease, status)) is not None:
            self.holder = None

    @rule(back=st.integers(0, 2))
    def hand_back(self, back: int) -> None:
        lease = self.lease(back)
        if self.write(lease, lambda: self.store.hand_back(lease)) is not None:
            self.holder = None

    @rule(sure=st.integers(0, 9))
    def remove(self, sure: int) -> None:
        if not sure and self.seen.status in OVER and not self.gone:
            self.store.remove(self.job_id, None)
            self.gone = True

    @invariant()
    def laws(self) -> None:
        events = self.store.events(self.job_id, limit=10_000)
        rows = sa.select(LEASE.c.fence).where(LEASE.c.job_id == self.job_id)
        leased = self.store.database.read(lambda db: list(db.scalars(rows)))
        if self.gone:
            assert (events, leased) == ([], [])
            return
        job = self.store.get(self.job_id)
        before, self.seen = self.seen, job
        assert [event.number for event in events] == list(range(1, len(events) + 1))
        kinds = [event.kind for event in events]
        assert (kinds.count("queued"), kinds.count("taken_up")) == (job.attempt, job.fence)
        for name in ("progress", "calls", "usd", "fence", "attempt", "version"):
            assert getattr(job, name) >= getattr(before, name), name
        assert job == before or job.version > before.version, "what is another job has another tag"
        assert (job.status == "running") == (self.holder is not None)
        assert leased in ([], [job.fence])
        assert job.status == "running" or not leased
        assert job.wanted is None or job.status == "running"
        assert (job.finished_at is not None) == (job.status in OVER)


def test_the_laws_of_a_job_hold(database: Database) -> None:
    few = settings(
        max_examples=15, stateful_step_count=25, suppress_health_check=list(HealthCheck), deadline=None
    )
    run_state_machine_as_test(lambda: OneJob(database), settings=few)
