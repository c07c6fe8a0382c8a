"""Which journal a process writes: the workspace's files, or the database of the service."""

from skill_fleet.config.load import Loaded
from skill_fleet.config.paths import Workspace
from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.llm.journal.journal import Journal
from skill_fleet.llm.journal.store import Held, JournalStore


def open_journal(loaded: Loaded, clock: Clock = SYSTEM_CLOCK, lease: Held | None = None) -> JournalStore:
    """The journal of these settings: the database where one is named, else the workspace's files.

    Args:
        loaded: Settings and workspace.
        clock: For times in the rows, and for waiting.
        lease: The right to a job of the service: as soon as another process has taken that job up, the
            database's journal notes no further call. Files need none: their workspace has one worker.

    Raises:
        StorageError: It cannot be opened, or was never prepared.
    """
    return journal_at(loaded.workspace, loaded.database, clock, lease)


def journal_at(
    workspace: Workspace, database: str | None, clock: Clock = SYSTEM_CLOCK, lease: Held | None = None
) -> JournalStore:
    """The journal at a database's address, or in a workspace's files; see `open_journal`.

    Raises:
        ConfigError: The address cannot be read.
        StorageError: It cannot be opened, or was never prepared.
    """
    if database is None:
        return Journal(workspace.ledger, workspace.responses, clock=clock)
    from skill_fleet.llm.journal.database_engine import postgres_engine
    from skill_fleet.llm.journal.database_journal import DatabaseJournal

    return DatabaseJournal(postgres_engine(database), lease=lease, clock=clock)
