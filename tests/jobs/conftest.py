"""The database of jobs, prepared, on SQLite and on a real PostgreSQL."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.workers_help import Fleet
from postgres import Postgres
from skill_fleet.config.paths import Workspace
from skill_fleet.jobs.database import Database, open_database, prepare_database

sys.path.append(str(Path(__file__).parent))

from store_help import Processes


@pytest.fixture(scope="session")
def prepared_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with an embedded database that has our tables, to be copied."""
    root = tmp_path_factory.mktemp("prepared")
    _prepare(root, None)
    return root


@pytest.fixture(scope="session")
def prepared_postgres(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database of PostgreSQL that has our tables, to be copied."""
    url = postgres.new_database()
    _prepare(tmp_path_factory.mktemp("unused"), url)
    return url.rpartition("/")[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest) -> str | None:
    """The address of a database without tables; None is the embedded one."""
    return request.getfixturevalue("postgres_url") if request.param == "postgresql" else None


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(workspace: Path, request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The address of a database with our tables; None is the embedded one."""
    if request.param == "sqlite":
        prepared: Path = request.getfixturevalue("prepared_workspace")
        shutil.copytree(prepared / ".skill-fleet", workspace / ".skill-fleet", dirs_exist_ok=True)
        yield None
        return
    template = request.getfixturevalue("prepared_postgres")
    server: Postgres = request.getfixturevalue("postgres")
    url = server.copy_of(template)
    yield url
    server.drop(url)


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
    """The test's database with our tables and the queue's own."""
    return open_again()


@pytest.fixture(scope="session")
def processes() -> Iterator[Processes]:
    """Two processes that do something with a database at the same moment."""
    with Processes(2) as two:
        yield two


@pytest.fixture
def fleet(database: Database, database_url: str | None, workspace: Path) -> Iterator[Fleet]:
    """Workers on the test's database, none yet; they end with the test."""
    fleet = Fleet(workspace, database_url, database)
    yield fleet
    fleet.close()


def _prepare(root: Path, url: str | None) -> None:
    database = open_database(Workspace.at(root, {}), url)
    prepare_database(database)
    database.close()
