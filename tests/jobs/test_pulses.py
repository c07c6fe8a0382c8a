"""What streams ask of many jobs at once."""

from skill_fleet.jobs.records import NewJob
from skill_fleet.jobs.store import JobStore


def test_the_last_event_and_the_status_of_many_jobs(database):
    store = JobStore(database)
    names = [f"20260115-093000-{n:010x}" for n in range(300)]
    for name in names:
        store.create(NewJob(name, "optimization", {}))
    store.note(names[0], "asked", {})
    store.want(names[1], "cancelled", None)
    store.want(names[2], "cancelled", None)
    store.remove(names[2], None)
    found = store.pulses([*names, "never"])
    assert found.keys() == {name for name in names if name != names[2]}
    assert found[names[0]] == (2, "queued")
    assert found[names[1]] == (len(store.events(names[1])), "cancelled")
    assert found[names[3]] == (1, "queued")
    assert store.pulses([]) == {}
