"""The schema: made once by however many begin at the same time, brought forward with what is in it."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from store_help import Processes, queued, taken

from skill_fleet.config.paths import Workspace
from skill_fleet.foundation.errors import StorageError
from skill_fleet.jobs import migrate
from skill_fleet.jobs.database import Database, open_database, prepare_database
from skill_fleet.jobs.records import Spending
from skill_fleet.jobs.store import JobStore
from skill_fleet.jobs.tables import LEASE, METADATA, PREPARED, SCHEMA
from skill_fleet.llm.journal.database_tables import JOURNAL_TABLES

SECOND = """
import sqlalchemy as sa
from alembic import op

revision = "test_only"
down_revision = "{head}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    embedded = op.get_bind().dialect.name == "sqlite"
    op.add_column("job", sa.Column("colour", sa.Text), schema=None if embedded else "skill_fleet")
"""


@pytest.fixture
def empty(empty_url: str | None, workspace: Path) -> Iterator[Database]:
    database = open_database(Workspace.at(workspace, {}), empty_url)
    yield database
    database.close()


def tables_of(database: Database) -> set[str]:
    schema = None if database.is_sqlite else SCHEMA
    return database.read(lambda db: set(sa.inspect(db).get_table_names(schema=schema)))


def test_eight_processes_prepare_one_database(empty: Database, workspace: Path, processes: Processes) -> None:
    assert processes.at_once(empty, workspace, [{"do": "prepare"}] * 2) == [[0] * 4] * 2
    assert migrate.revision(empty) == migrate.HEAD
    assert queued(JobStore(empty)).status == "queued"


def test_the_migrations_make_exactly_the_tables(empty: Database) -> None:
    prepare_database(empty, queue=False)
    journal = {table.name for table in JOURNAL_TABLES}
    expected = {table.name for table in METADATA.tables.values()} | {"alembic_version"}
    assert tables_of(empty) == (expected - journal if empty.is_sqlite else expected)
    metadata: sa.MetaData = METADATA
    if empty.is_sqlite:
        metadata = sa.MetaData()
        for table in METADATA.tables.values():
            if table.name not in journal:
                table.to_metadata(metadata, schema=None, referred_schema_fn=lambda *_: sa.schema.BLANK_SCHEMA)

    def differences(db: sa.Connection) -> list[object]:
        def ours(_: object, name: str | None, kind: str, *__: object) -> bool:
            return kind != "table" or name != "alembic_version"

        def our_schema(name: str | None, kind: str, _: object) -> bool:
            return kind != "schema" or name == (None if empty.is_sqlite else SCHEMA)

        options = {
            "include_schemas": not empty.is_sqlite,
            "include_object": ours,
            "include_name": our_schema,
            "compare_type": True,
            "compare_server_default": True,
        }
        return compare_metadata(MigrationContext.configure(db, opts=options), metadata)

    assert empty.read(differences) == []


def test_the_head_is_the_last_migration() -> None:
    scripts = ScriptDirectory(str(migrate.MIGRATIONS), version_locations=[str(migrate.VERSIONS)])
    assert scripts.get_heads() == [migrate.HEAD]


def test_a_later_migration_keeps_the_jobs(empty: Database, tmp_path: Path) -> None:
    prepare_database(empty, queue=False)
    store = JobStore(empty)
    lease = taken(store, queued(store, "half-done"))
    store.progress(lease, progress=0.5, message="m\0", spending=Spending(3, 0.5, 1), partial={"x": [1]})
    queued(store, "waiting", owner="k", metadata={"a": "\ud800"})
    before = store.page(), store.events("half-done")
    versions = tmp_path / "versions"
    versions.mkdir()
    (versions / "second.py").write_text(SECOND.format(head=migrate.HEAD))
    migrate.upgrade(empty, (migrate.VERSIONS, versions))
    assert migrate.revision(empty) == "test_only"
    assert (store.page(), store.events("half-done")) == before
    assert store.progress(lease, progress=0.6) is None, "the lease of before is good afterwards"
    assert store.conclude(lease, "succeeded").status == "succeeded"
    colour = sa.select(sa.table("job", sa.column("colour"), schema=None if empty.is_sqlite else SCHEMA))
    assert empty.read(lambda db: list(db.scalars(colour))) == [None, None]

    # And the code of before refuses the schema of after, without having touched it.
    with pytest.raises(StorageError, match=r"prepared by a newer skill-fleet \(revision test_only"):
        prepare_database(empty, queue=False)
    assert migrate.revision(empty) == "test_only"


def test_a_migration_that_fails_leaves_everything_as_it_was(empty: Database, tmp_path: Path) -> None:
    prepare_database(empty, queue=False)
    queued(JobStore(empty), "a")
    before = tables_of(empty)
    versions = tmp_path / "versions"
    versions.mkdir()
    broken = SECOND.format(head=migrate.HEAD) + '    op.execute("this is no statement")\n'
    (versions / "broken.py").write_text(broken)
    with pytest.raises(StorageError):
        migrate.upgrade(empty, (migrate.VERSIONS, versions))
    assert migrate.revision(empty) == migrate.HEAD
    assert tables_of(empty) == before
    assert [job.job_id for job in JobStore(empty).page()] == ["a"]
    schema = None if empty.is_sqlite else SCHEMA
    columns = empty.read(lambda db: {column["name"] for column in sa.inspect(db).get_columns("job", schema)})
    assert "colour" not in columns


def test_the_queues_tables_are_made_once_and_again_by_another_version(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    real = migrate._prepare_queue

    def watched(database: Database) -> None:
        made.append("made")
        real(database)

    monkeypatch.setattr(migrate, "_prepare_queue", watched)
    prepare_database(empty)
    prepare_database(empty)
    assert len(made) == 1
    empty.write(lambda db: db.execute(sa.update(PREPARED).values(version="0.0.1")))
    prepare_database(empty)
    prepare_database(empty)
    assert len(made) == 2
    if empty.folder is not None:
        (empty.folder / migrate.QUEUE_FILE).unlink()
    else:
        empty.write(lambda db: db.execute(sa.text("drop schema dbos cascade")))
    prepare_database(empty)
    assert len(made) == 3


def test_nothing_heavy_is_loaded_where_nothing_is_to_be_done(workspace: Path) -> None:
    database = open_database(Workspace.at(workspace, {}), None)
    prepare_database(database)
    database.close()
    program = f"""if True:
        import sys
        from pathlib import Path
        from skill_fleet.config.paths import Workspace
        from skill_fleet.jobs.database import open_database, prepare_database
        from skill_fleet.jobs import audit, file_store, key_store, store, worker_store
        prepare_database(open_database(Workspace.at(Path({str(workspace)!r}), {{}}), None))
        heavy = {{"dbos", "alembic", "dspy", "numpy", "optuna", "psycopg", "fastapi"}}
        print(sorted(heavy & set(sys.modules)))
    """
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert done.stdout.strip() == "[]"


def test_the_lease_is_where_the_journal_looks_for_it(empty: Database) -> None:
    prepare_database(empty, queue=False)
    assert LEASE.name in tables_of(empty)
