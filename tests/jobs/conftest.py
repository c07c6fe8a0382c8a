"""The database of jobs, prepared, on SQLite and on a real PostgreSQL."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jobs.workers_help import Fleet

from skill_fleet.config.paths import Workspace
from skill_fleet.jobs.database import Database, open_database, prepare_database

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """The address of an empty database; None is the embedded one."""
    if request.param == "sqlite":
        return None
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def open_again(database_url: str | None, workspace: Path) -> Iterator[Callable[..., Database]]:
    """Opens the test's database, as another process would; everything is closed after the test."""
    opened: list[Database] = []

    def again(**options: float) -> Database:
        opened.append(open_database(Workspace.at(workspace, {}), database_url, **options))
        return opened[-1]

    yield again
    for database in opened:
        database.close()


@pytest.fixture
def database(open_again: Callable[..., Database]) -> Database:
    """The test's database with our tables; without the queue's own, which take a second."""
    database = open_again()
    prepare_database(database, queue=False)
    return database


@pytest.fixture
def fleet(database: Database, database_url: str | None, workspace: Path) -> Iterator[Fleet]:
    """Workers as processes, none yet, on the test's database; they end with the test."""
    prepare_database(database)
    fleet = Fleet(workspace, database_url, database)
    yield fleet
    fleet.close()
