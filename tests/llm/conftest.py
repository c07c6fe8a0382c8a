"""Both stores of the journal, for the suite that every one of them passes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


class FileStores:
    """Journals over the files of one workspace, each as another process would open it."""

    kind = "files"

    def __init__(self, root: Path) -> None:
        self.root = root
        self._opened: list[Any] = []

    def open(self, **options: Any) -> Any:
        from skill_fleet.llm.journal.journal import Journal

        options.pop("lease", None)
        options.pop("patience", None)
        journal = Journal(self.root / "ledger", self.root / "responses", **options)
        self._opened.append(journal)
        return journal

    def readings(self) -> Any:
        from skill_fleet.llm.journal.readings import FileReadings

        return FileReadings(self.root / "ledger")

    def close(self) -> None:
        for journal in self._opened:
            journal.close()


class DatabaseStores:
    """Journals over one PostgreSQL database."""

    kind = "database"

    def __init__(self, url: str) -> None:
        import sqlalchemy as sa

        from skill_fleet.llm.journal.database_engine import postgres_engine
        from skill_fleet.llm.journal.database_tables import (
            JOURNAL_TABLES,
            LEASE,
            METADATA,
            REVISION,
            SCHEMA,
            VERSION,
        )

        self.url = url
        self._opened: list[Any] = []
        self._engine = postgres_engine(url)
        with self._engine.begin() as db:
            db.execute(sa.schema.CreateSchema(SCHEMA))
            METADATA.create_all(db, tables=[*JOURNAL_TABLES, LEASE])
            VERSION.create(db)
            db.execute(VERSION.insert(), {"version_num": REVISION})

    def open(self, **options: Any) -> Any:
        from skill_fleet.llm.journal.database_engine import postgres_engine
        from skill_fleet.llm.journal.database_journal import DatabaseJournal

        journal = DatabaseJournal(postgres_engine(self.url), **options)
        self._opened.append(journal)
        return journal

    def readings(self, lease: Any = None) -> Any:
        from skill_fleet.llm.journal.database_readings import DatabaseReadings

        return DatabaseReadings(self._engine, lease=lease)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What the database itself says."""
        import sqlalchemy as sa

        with self._engine.begin() as db:
            found = db.execute(sa.text(statement))
            return [tuple(row) for row in found] if found.returns_rows else []

    def take_up(self, job: str) -> Any:
        """A new lease of a job, as a worker gets it."""
        from skill_fleet.jobs.records import Lease

        ((fence,),) = self.rows(
            f"insert into skill_fleet.lease values ('{job}', 1, 'w', 0)"  # noqa: S608
            " on conflict (job_id) do update set fence = lease.fence + 1 returning fence"
        )
        return Lease(job, fence, "w")

    def close(self) -> None:
        for journal in self._opened:
            journal.close()
        self._engine.dispose()


@pytest.fixture(scope="session")
def prepared() -> Callable[[str], DatabaseStores]:
    """Makes the journal's tables in an empty database."""
    return DatabaseStores


@pytest.fixture
def database(postgres_url: str) -> Iterator[DatabaseStores]:
    """A prepared database."""
    stores = DatabaseStores(postgres_url)
    yield stores
    stores.close()


@pytest.fixture(params=["files", "database"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """Both kinds of places that a journal can be in."""
    if request.param == "database":
        yield request.getfixturevalue("database")
        return
    files = FileStores(tmp_path)
    yield files
    files.close()


@pytest.fixture
def pay() -> Callable[..., str]:
    """Makes one paid call of a journal."""
    from skill_fleet.llm.journal.spent import Usage

    def make(store: Any, key: str, body: str = '"x"', run: str = "run", usage: Any = None) -> str:
        attempt = store.open_attempt(run, key, "evaluation", "m")
        answer: str = store.settle(attempt, key, "m", body, usage or Usage(10, 5, 0.25))
        return answer

    return make
