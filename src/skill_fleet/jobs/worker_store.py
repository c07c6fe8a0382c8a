"""The workers, and whether they are alive: by the database's clock, which all of them share."""

import sqlalchemy as sa

from skill_fleet.jobs.connection import Database
from skill_fleet.jobs.records import Worker
from skill_fleet.jobs.rows import clean
from skill_fleet.jobs.tables import WORKER, database_now

# Inside the class, `list` is its method.
Names = list[str]
Workers = list[Worker]

_COLUMNS = (
    WORKER.c.worker_id,
    WORKER.c.host,
    WORKER.c.pid,
    WORKER.c.version,
    WORKER.c.state,
    WORKER.c.started_at,
    WORKER.c.heartbeat_at,
)


class WorkerStore:
    """The workers in a database.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def register(self, worker_id: str, *, host: str, pid: int, version: str) -> None:
        """Write down a worker that starts.

        Args:
            worker_id: Unique for each start.
            host: Where it runs.
            pid: Its process.
            version: Of the jobs' protocol.
        """
        row = {"host": clean(host), "pid": pid, "version": version, "state": "alive"}
        times = {"started_at": database_now(), "heartbeat_at": database_now()}
        statement = WORKER.insert().values(worker_id=worker_id, **row, **times)
        self.database.write(lambda db: db.execute(statement))

    def beat(self, worker_id: str) -> bool:
        """A sign of life.

        Returns:
            False where the worker was declared dead: its jobs are others' now.
        """
        alive = sa.and_(WORKER.c.worker_id == worker_id, WORKER.c.state == "alive")
        statement = sa.update(WORKER).where(alive).values(heartbeat_at=database_now())
        return self.database.write(lambda db: db.execute(statement).rowcount) == 1

    def say_goodbye(self, worker_id: str) -> None:
        """Note that a worker has stopped in order; one that was declared dead stays so."""
        alive = sa.and_(WORKER.c.worker_id == worker_id, WORKER.c.state == "alive")
        statement = sa.update(WORKER).where(alive).values(state="stopped", heartbeat_at=database_now())
        self.database.write(lambda db: db.execute(statement))

    def declare_dead(self, expiry_seconds: float) -> Names:
        """Declare those dead whose last sign of life is too old.

        Returns:
            Who was alive until now; of several callers, one has each.
        """
        return self._declare(WORKER.c.heartbeat_at < database_now() - expiry_seconds)

    def declare_others_dead(self, worker_id: str) -> Names:
        """Declare all but one dead: for who holds the lock of the only worker.

        Returns:
            Who was alive until now.
        """
        return self._declare(WORKER.c.worker_id != worker_id)

    def gone(self, worker_id: str) -> None:
        """Forget a dead or stopped worker, when nothing of it is left to be taken over."""
        theirs = sa.and_(WORKER.c.worker_id == worker_id, WORKER.c.state != "alive")
        self.database.write(lambda db: db.execute(sa.delete(WORKER).where(theirs)))

    def list(self) -> Workers:
        """All workers that are not forgotten, in the order of their start."""
        ordered = sa.select(*_COLUMNS).order_by(WORKER.c.started_at, WORKER.c.worker_id)
        return [Worker(*row) for row in self.database.read(lambda db: db.execute(ordered).all())]

    def silent_for(self, worker_id: str) -> float | None:
        """Seconds since a worker's last sign of life, on the database's clock; None of an unknown one."""
        age = sa.select(database_now() - WORKER.c.heartbeat_at).where(WORKER.c.worker_id == worker_id)
        return self.database.read(lambda db: db.scalar(age))

    def _declare(self, condition: sa.ColumnElement[bool]) -> Names:
        statement = (
            sa.update(WORKER)
            .where(WORKER.c.state == "alive", condition)
            .values(state="dead")
            .returning(WORKER.c.worker_id)
        )
        return self.database.write(lambda db: sorted(db.scalars(statement)))
