"""A worker lives by the database's clock: one whose own is hours off neither dies of it nor outlives it."""

import time
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from jobs.workers_help import Fleet, within
from skill_fleet.jobs.database import Database
from skill_fleet.jobs.tables import WORKER
from skill_fleet.jobs.worker_store import WorkerStore

DAY = 86_400.0
EXPIRY = 8.0
"""Far below a day, and far above what a beat is late on a busy machine."""
SHIFTED = pytest.mark.parametrize("shift", [-DAY, DAY], ids=["slow", "fast"])
FAST = pytest.mark.parametrize("shift", [DAY], ids=["fast"])


@pytest.fixture
def shifted(monkeypatch: pytest.MonkeyPatch, shift: float) -> Callable[[], None]:
    """Puts the clock of this process wrong; the database's stays."""
    true_time, true_time_ns = time.time, time.time_ns

    def begin() -> None:
        monkeypatch.setattr(time, "time", lambda: true_time() + shift)
        monkeypatch.setattr(time, "time_ns", lambda: true_time_ns() + int(shift * 1e9))

    return begin


def alive(database: Database) -> set[str]:
    return {worker.worker_id for worker in WorkerStore(database).list() if worker.state == "alive"}


def beats(database: Database) -> dict[str, float]:
    return {worker.worker_id: worker.heartbeat_at for worker in WorkerStore(database).list()}


@SHIFTED
def test_a_beat_is_written_in_the_databases_time(
    database: Database, shifted: Callable[[], None], shift: float
) -> None:
    workers = WorkerStore(database)
    workers.register("true", host="h", pid=1, version="1")
    shifted()
    workers.register("shifted", host="h", pid=2, version="1")
    times = beats(database)
    assert abs(times["shifted"] - times["true"]) < 60
    assert workers.beat("shifted")
    assert workers.beat("true")
    assert all(0 <= now - times["true"] < 60 for now in beats(database).values())
    age = workers.silent_for("shifted")
    assert age is not None
    assert 0 <= age < 60
    workers.say_goodbye("shifted")
    assert abs(beats(database)["shifted"] - times["true"]) < 60


@SHIFTED
def test_who_looks_with_a_wrong_clock_declares_the_same_ones_dead(
    database: Database, shifted: Callable[[], None], shift: float
) -> None:
    workers = WorkerStore(database)
    for name in ("silent", "alive"):
        workers.register(name, host="h", pid=1, version="1")
    silent = sa.update(WORKER).where(WORKER.c.worker_id == "silent")
    database.write(lambda db: db.execute(silent.values(heartbeat_at=WORKER.c.heartbeat_at - 1000)))
    shifted()
    assert workers.beat("alive")
    assert workers.declare_dead(3600) == []
    assert workers.declare_dead(500) == ["silent"]
    assert workers.beat("alive"), "it lives on"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@FAST
def test_workers_whose_clocks_differ_by_a_day_leave_each_other_alone(
    fleet: Fleet, shifted: Callable[[], None], shift: float
) -> None:
    other = fleet.worker(runner="nothing", heartbeat_seconds=EXPIRY)
    shifted()
    here = fleet.here(nothing=0.0, heartbeat_seconds=EXPIRY)
    names = {other.name, here.worker_id}

    def both_beat() -> bool:
        """Since it began here. Who lives looks for the dead as often as it beats."""
        now = beats(fleet.database)
        assert alive(fleet.database) == now.keys() == names
        return all(now[name] > first[name] + 0.7 * EXPIRY for name in names)

    first = beats(fleet.database)
    within(both_beat, "that both go on")
    other.kill()
    within(lambda: other.name not in alive(fleet.database), "a dead worker lives on")
    assert fleet.wait(fleet.job(), "succeeded").worker == here.worker_id
