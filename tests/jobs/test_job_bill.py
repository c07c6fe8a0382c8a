"""The bill of a job: told while it works, by its journal at its end, and by nobody where there was none."""

import pytest
from store_help import queued, taken, taken_back

from skill_fleet.jobs import migrate
from skill_fleet.jobs.database import Database
from skill_fleet.jobs.records import Spending
from skill_fleet.jobs.store import JobStore
from skill_fleet.llm.journal.spent import Group, added_up
from skill_fleet.services.job_views import job_view

ANSWERED = Group("settled", "judge", "m", False, 4, 40, 20, 0.5, 0, 60, 0.5, 0, 0, 0)
BROKEN = Group("failed", "judge", "m", False, 2, None, None, None, 2, 200, 0.25, 2, 0, 0)
UNDER_WAY = Group("open", "judge", "m", False, 1, None, None, None, 1, 100, 0.125, 1, 0, 0)
BOUNDLESS = Group("lost", "judge", "m", False, 1, None, None, None, 1, None, None, 1, 1, 1)
REFUSED = Group("failed", "judge", "m", True, 9, None, None, None, 9, 900, 9.0, 9, 0, 0)


def cost_of(store: JobStore, name: str) -> dict[str, object]:
    cost: dict[str, object] = job_view(store.get(name))["cost"]
    return cost


@pytest.mark.parametrize(
    ("groups", "ended", "usd", "most", "billed"),
    [
        ([ANSWERED, REFUSED], False, 0.5, 0.5, 0),
        ([ANSWERED, UNDER_WAY], False, 0.5, 0.5, 0),
        ([ANSWERED, UNDER_WAY], True, None, 0.625, 1),
        ([ANSWERED, BROKEN, UNDER_WAY], False, None, 0.875, 2),
        ([ANSWERED, BROKEN, BOUNDLESS], True, None, None, 3),
    ],
)
def test_a_jobs_bill_is_the_journals(
    database: Database, groups: list[Group], ended: bool, usd: float | None, most: float | None, billed: int
) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a"))
    assert cost_of(store, "a")["usd_range"] == [0.0, 0.0]
    store.progress(lease, spending=Spending.by(added_up(groups), ended=ended))
    cost = cost_of(store, "a")
    assert (cost["usd"], cost["usd_range"], cost["possibly_billed"]) == (usd, [0.5, most], billed)
    assert cost["calls"] == sum(group.calls for group in groups)


def test_what_becomes_known_closes_the_range(database: Database) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "a"))
    store.progress(lease, spending=Spending(4, 0.5, 1, 2.0, 1))
    assert cost_of(store, "a")["usd_range"] == [0.5, 2.0]
    store.conclude(lease, "succeeded", spending=Spending(4, 0.75, 0, 0.75, 0))
    cost = cost_of(store, "a")
    assert (cost["usd"], cost["usd_range"], cost["possibly_billed"]) == (0.75, [0.75, 0.75], 0)


def test_a_job_of_before_the_upgrade_has_no_upper_end(database: Database) -> None:
    store = JobStore(database)
    lease = taken(store, queued(store, "old"))
    store.progress(lease, spending=Spending(4, 0.5, 1, 2.0, 1))
    taken_back(database, "0001")
    migrate.prepare(database, queue=False)
    assert migrate.revision(database) == migrate.HEAD
    cost = cost_of(store, "old")
    assert (cost["calls"], cost["usd"], cost["usd_range"]) == (4, None, [0.5, None])
    assert cost["possibly_billed"] == 0
