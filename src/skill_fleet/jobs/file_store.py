"""The files of a job that decide where it goes on, so that another machine can."""

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from skill_fleet.jobs.connection import Database
from skill_fleet.jobs.job_rows import held
from skill_fleet.jobs.records import Lease
from skill_fleet.jobs.rows import storable
from skill_fleet.jobs.tables import JOB_FILE, database_now


class FileStore:
    """The jobs' files in a database.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def save(self, lease: Lease, files: Mapping[str, bytes]) -> None:
        """Keep files, all or none; one that is there is replaced, others stay.

        Args:
            lease: The right to do so.
            files: Contents by name.

        Raises:
            LeaseLost: It is held no more.
            ValueError: A name holds NUL or half of a surrogate pair.
        """
        for name in files:
            if not storable(name):
                raise ValueError(f"no name of a file: {name!r}")

        def work(db: sa.Connection) -> None:
            job = held(db, lease)
            insert = (sqlite if db.dialect.name == "sqlite" else postgresql).insert(JOB_FILE)
            for name in sorted(files):
                row = {"data": files[name], "saved_at": database_now()}
                new = insert.values(job_id=job.job_id, name=name, **row)
                db.execute(new.on_conflict_do_update(index_elements=["job_id", "name"], set_=row))

        self.database.write(work)

    def load(self, job_id: str) -> dict[str, bytes]:
        """All files of a job by name; none of one that is not there or was removed."""
        if not storable(job_id):
            return {}
        theirs = sa.select(JOB_FILE.c.name, JOB_FILE.c.data).where(JOB_FILE.c.job_id == job_id)
        rows = self.database.read(lambda db: db.execute(theirs.order_by(JOB_FILE.c.name)).all())
        return {name: bytes(data) for name, data in rows}

    def read(self, job_id: str, name: str) -> bytes | None:
        """One file of a job; None where it is not there."""
        if not storable(job_id):
            return None
        one = sa.select(JOB_FILE.c.data).where(JOB_FILE.c.job_id == job_id, JOB_FILE.c.name == name)
        data = self.database.read(lambda db: db.scalar(one))
        return None if data is None else bytes(data)
