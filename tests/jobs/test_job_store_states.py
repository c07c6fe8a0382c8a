"""What may be asked of a job in each status, one after the other and all at once."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from store_help import Processes, queued, taken

from skill_fleet.foundation.errors import LeaseLost, StateConflict
from skill_fleet.jobs.database import Database
from skill_fleet.jobs.records import STATUSES, Job, Lease
from skill_fleet.jobs.store import JobStore

CONFLICT = "conflict"
STATES = (*STATUSES, "running, pausing", "running, cancelling")

# What becomes of a job in each state (rows in the order of STATES), asked each verb.
TABLE: dict[str, tuple[str, ...]] = {
    # verb: queued, running, paused, succeeded, stopped, failed, cancelled, pausing, cancelling
    "pause": (
        "paused", "running, pausing", "paused", CONFLICT, CONFLICT, CONFLICT, CONFLICT, "running, pausing",
        CONFLICT,
    ),
    "cancel": (
        "cancelled", "running, cancelling", "cancelled", CONFLICT, "cancelled", CONFLICT, "cancelled",
        "running, cancelling", "running, cancelling",
    ),
    "resume": (
        CONFLICT, CONFLICT, "queued", CONFLICT, "queued", CONFLICT, CONFLICT, CONFLICT, CONFLICT,
    ),
    "remove": (
        CONFLICT, CONFLICT, CONFLICT, "removed", "removed", "removed", "removed", CONFLICT, CONFLICT,
    ),
    "claim": (
        "running", "running", "paused", "succeeded", "stopped", "failed", "cancelled", "paused", "cancelled",
    ),
    "next attempt": (
        "queued", "queued", "paused", "succeeded", "stopped", "failed", "cancelled", "paused", "cancelled",
    ),
    "hand back": (
        CONFLICT, "queued", CONFLICT, CONFLICT, CONFLICT, CONFLICT, CONFLICT, "paused", "cancelled",
    ),
    "succeed": (
        CONFLICT, "succeeded", CONFLICT, CONFLICT, CONFLICT, CONFLICT, CONFLICT, "succeeded", "succeeded",
    ),
    "fail": (
        CONFLICT, "failed", CONFLICT, CONFLICT, CONFLICT, CONFLICT, CONFLICT, "failed", "failed",
    ),
    "stop": (
        CONFLICT, "stopped", CONFLICT, CONFLICT, CONFLICT, CONFLICT, CONFLICT, "stopped", "cancelled",
    ),
    "pause itself": (
        CONFLICT, "paused", CONFLICT, CONFLICT, CONFLICT, CONFLICT, CONFLICT, "paused", "cancelled",
    ),
    "cancel itself": (
        CONFLICT, "cancelled", CONFLICT, CONFLICT, CONFLICT, CONFLICT, CONFLICT, "cancelled", "cancelled",
    ),
    "crash": (
        CONFLICT, "running", CONFLICT, CONFLICT, CONFLICT, CONFLICT, CONFLICT, "running, pausing",
        "running, cancelling",
    ),
}  # fmt: skip

VERBS: dict[str, Callable[[JobStore, Lease], object]] = {
    "pause": lambda store, lease: store.want(lease.job_id, "paused", None),
    "cancel": lambda store, lease: store.want(lease.job_id, "cancelled", None),
    "resume": lambda store, lease: store.requeue(lease.job_id, None),
    "remove": lambda store, lease: store.remove(lease.job_id, None),
    "claim": lambda store, lease: store.claim(lease.job_id, 1, "worker-2"),
    "next attempt": lambda store, lease: store.next_attempt(lease.job_id, 1),
    "hand back": lambda store, lease: store.hand_back(lease),
    "succeed": lambda store, lease: store.conclude(lease, "succeeded", result={"x": 1}),
    "fail": lambda store, lease: store.conclude(lease, "failed", error={"code": "bug"}),
    "stop": lambda store, lease: store.conclude(lease, "stopped", error={"code": "budget"}),
    "pause itself": lambda store, lease: store.conclude(lease, "paused"),
    "cancel itself": lambda store, lease: store.conclude(lease, "cancelled"),
    "crash": lambda store, lease: store.crashed(lease, {"code": "crashed"}),
}


def in_state(store: JobStore, state: str, job_id: str) -> Lease:
    """A job in a state, and the lease of whoever holds it, or held it last."""
    job = queued(store, job_id)
    if state == "queued":
        return Lease(job_id, 0, "worker-1")
    lease = taken(store, job)
    if state in {"paused", "succeeded", "stopped", "failed", "cancelled"}:
        store.conclude(lease, state)  # type: ignore[arg-type]
    if state == "running, pausing":
        store.want(job_id, "paused", None)
    if state == "running, cancelling":
        store.want(job_id, "cancelled", None)
    return lease


def seen(job: Job) -> str:
    wanted = {None: "", "paused": ", pausing", "cancelled": ", cancelling"}[job.wanted]
    return job.status + wanted


@pytest.mark.parametrize("verb", TABLE)
def test_every_verb_in_every_state(database: Database, verb: str) -> None:
    store = JobStore(database)
    found = []
    for number, state in enumerate(STATES):
        job_id = f"j{number}"
        lease = in_state(store, state, job_id)
        before = store.get(job_id)
        assert seen(before) == state
        try:
            VERBS[verb](store, lease)
        except (StateConflict, LeaseLost) as error:
            found.append(CONFLICT if f"Job {job_id} " in error.message else error.message)
            assert store.get(job_id) == before, "a refused verb changes nothing"
            continue
        if verb == "remove":
            found.append("removed")
            continue
        after = store.get(job_id)
        found.append(seen(after))
        if seen(after) == state and verb not in {"claim", "crash", "next attempt"}:
            assert after == before, "what is so already changes nothing"
        assert (after.finished_at is None) == (not after.over)
        assert after.wanted is None or after.status == "running"
    assert dict(zip(STATES, found, strict=True)) == dict(zip(STATES, TABLE[verb], strict=True))


def test_everything_in_the_table_is_covered() -> None:
    assert TABLE.keys() == VERBS.keys()
    assert {len(row) for row in TABLE.values()} == {len(STATES)}


def test_a_claim_of_another_attempt_does_nothing(database: Database) -> None:
    store = JobStore(database)
    queued(store, "a")
    store.want("a", "paused", None)
    job = store.requeue("a", None)
    assert store.claim("a", 1, "w") == job
    assert store.claim("a", 3, "w") == job
    assert isinstance(store.claim("a", 2, "w"), Lease)
    assert store.next_attempt("a", 1).attempt == 2, "only the attempt that is meant is put in again"


def test_each_claim_has_a_higher_fence_also_over_attempts(database: Database) -> None:
    store = JobStore(database)
    job = queued(store, "a")
    fences = [taken(store, job).fence, taken(store, job).fence]
    store.next_attempt("a", 1)
    job = store.get("a")
    fences.append(taken(store, job).fence)
    store.want("a", "paused", None)
    store.claim("a", 2, "w")
    job = store.requeue("a", None)
    fences.append(taken(store, job).fence)
    assert fences == [1, 2, 3, 4]
    started = [event.data["fence"] for event in store.events("a") if event.kind == "taken_up"]
    assert started == fences


def test_a_wish_is_told_to_the_holder_at_its_next_progress(database: Database) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a"))
    assert store.progress(lease) is None
    assert store.progress(lease, progress=0.1) is None
    store.want("a", "paused", "key")
    assert store.progress(lease) == "paused"
    assert store.progress(lease, progress=0.2, message="m") == "paused"
    store.want("a", "cancelled", "key")
    assert store.progress(lease) == "cancelled"
    asked = [(event.data["wanted"], event.data["by"]) for event in store.events("a") if event.kind == "asked"]
    assert asked == [("paused", "key"), ("cancelled", "key")]


def test_what_is_so_already_is_no_event(database: Database) -> None:
    store = JobStore(database)
    queued(store, "a")
    for _ in range(3):
        store.want("a", "cancelled", None)
    assert [event.kind for event in store.events("a")] == ["queued", "asked", "status"]


def test_a_cancelled_job_keeps_its_best_so_far(database: Database) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a"))
    store.progress(lease, partial={"best": 0.7})
    store.want("a", "cancelled", None)
    assert store.conclude(lease, "cancelled").result == {"best": 0.7}
    lease = taken(store, queued(store, "b"))
    store.progress(lease, partial={"best": 0.7})
    store.want("b", "cancelled", None)
    job = store.claim("b", 1, "after a crash")
    assert isinstance(job, Job)
    assert (job.status, job.result) == ("cancelled", {"best": 0.7})


def test_a_job_that_is_gone_on_with_begins_clean(database: Database) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a", max_usd=1.0, max_calls=5, max_tokens=7, max_minutes=9.5))
    store.progress(lease, progress=0.5, message="half")
    store.conclude(lease, "stopped", result={"x": 1}, error={"code": "budget"}, message="Empty.")
    job = store.requeue("a", "key", request={"budget": 9}, max_usd=2.0, max_tokens=8)
    assert (job.status, job.attempt, job.error, job.finished_at, job.message) == ("queued", 2, None, None, "")
    assert (store.request_of("a"), job.max_usd, job.max_calls) == ({"budget": 9}, 2.0, 5)
    assert (job.max_tokens, job.max_minutes) == (8, 9.5)
    assert (job.progress, job.result) == (0.5, {"x": 1})
    started = job.started_at
    assert taken(store, job).fence == 2
    assert store.get("a").started_at == started


def test_crashes_add_up_until_the_job_gets_further(database: Database) -> None:
    store = JobStore(database)
    job = queued(store, "a")
    lease = taken(store, job)
    store.progress(lease, progress=0.3)
    assert store.crashed(lease, {"code": "crashed"}) == 1
    lease = taken(store, job)
    store.progress(lease, progress=0.3, message="the same again")
    assert store.crashed(lease, {"code": "crashed"}) == 2
    lease = taken(store, job)
    store.progress(lease, progress=0.31)
    assert store.crashed(lease, {"code": "crashed"}) == 1


@pytest.mark.parametrize("ours", [("paused", "cancelled"), ("cancelled", "cancelled")])
def test_two_processes_that_ask_at_once_agree_in_the_end(
    database: Database, workspace: Path, processes: Processes, ours: tuple[str, str]
) -> None:
    store = JobStore(database)
    taken(store, queued(store, "a"))
    queued(store, "b")
    for job in ("a", "b"):
        processes.at_once(
            database, workspace, [{"do": "want", "job": job, "wanted": wanted} for wanted in ours]
        )
    assert (store.get("a").status, store.get("a").wanted) == ("running", "cancelled")
    assert store.get("b").status == "cancelled"
    ended = [event for event in store.events("b") if event.data.get("status") == "cancelled"]
    assert len(ended) == 1


def test_of_claims_at_once_each_has_its_own_fence_and_one_holds(
    database: Database, workspace: Path, processes: Processes
) -> None:
    store = JobStore(database)
    queued(store, "a")
    claims = [{"do": "claim", "job": "a", "worker": f"w{number}"} for number in range(2)]
    fences = sorted(answer["fence"] for answer in processes.at_once(database, workspace, claims))
    assert fences == [1, 2]
    holder = store.get("a").worker
    held = 0
    for fence in fences:
        try:
            store.append(Lease("a", fence, "w"), [("x", {})])
        except LeaseLost:
            continue
        held += 1
    assert held == 1
    assert holder in {"w0", "w1"}


def test_verbs_of_many_threads_end_in_one_consistent_state(database: Database) -> None:
    store = JobStore(database)
    queued(store, "a")

    def ask(number: int) -> str:
        try:
            match number % 4:
                case 0:
                    store.want("a", "paused", None)
                case 1:
                    store.requeue("a", None)
                case 2:
                    store.claim("a", store.get("a").attempt, f"w{number}")
                case _:
                    store.next_attempt("a", store.get("a").attempt)
        except StateConflict:
            return "refused"
        return "done"

    with ThreadPoolExecutor(8) as pool:
        outcomes = Counter(pool.map(ask, range(120)))
    assert outcomes["done"] > 0
    job, events = store.get("a"), store.events("a")
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    kinds = Counter(event.kind for event in events)
    assert job.fence == kinds["taken_up"]
    assert job.attempt == kinds["queued"]
    store.want("a", "cancelled", None)
    store.claim("a", store.get("a").attempt, "last")
    assert store.get("a").status == "cancelled"
