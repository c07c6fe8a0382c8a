"""All caps of a job are told, also of jobs that were made before the tables had room for them."""

from store_help import new_job, taken_back

from skill_fleet.jobs import migrate
from skill_fleet.jobs.database import Database
from skill_fleet.jobs.store import JobStore


def test_jobs_of_before_get_the_caps_that_they_were_given(database: Database) -> None:
    store = JobStore(database)
    nasty = {"trainset": ["a\0b \ud800 ü"]}
    given = {
        "both": {"budget": {"max_cost": 1.0, "max_calls": 2, "max_tokens": 3, "max_minutes": 4.5}, **nasty},
        "one": {"budget": {"max_cost": None, "max_tokens": 5}},
        "none": {"budget": {"max_cost": None, "max_calls": None, "max_tokens": None, "max_minutes": None}},
        "nothing": nasty,
    } | {f"many{number}": {"budget": {"max_minutes": float(number)}} for number in range(1, 60)}
    for name, request in given.items():
        store.create(new_job(name, request=request))
    taken_back(database, "0003")
    migrate.upgrade(database)
    found = {name: (job.max_tokens, job.max_minutes) for name in given for job in [store.get(name)]}
    expected = {"both": (3, 4.5), "one": (5, None), "none": (None, None), "nothing": (None, None)}
    assert found == expected | {f"many{number}": (None, float(number)) for number in range(1, 60)}
