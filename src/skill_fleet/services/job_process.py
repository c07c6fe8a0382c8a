"""The process of one job: `python -m skill_fleet.services.job_process JOB_ID FENCE WORKER_ID`.

A worker starts it with its standard input held open, the workspace as current directory (or in
`SKILL_FLEET_WORKSPACE`) and the database's address in `SKILL_FLEET_DATABASE_URL`. It writes the end of its
job into the store itself. Exit codes: 0, it has; 75, it was interrupted and can go on; 76, somebody else has
the job; anything else is a crash, after which it is started once more.
"""

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NoReturn

from skill_fleet.foundation.errors import LeaseLost, SkillFleetError
from skill_fleet.jobs.child import CONCLUDED, INTERRUPTED, LOST, Child
from skill_fleet.jobs.child_ears import die_with_parent, listen
from skill_fleet.jobs.database import open_database
from skill_fleet.jobs.file_store import FileStore
from skill_fleet.jobs.records import Job, Lease, Spending
from skill_fleet.jobs.store import JobStore
from skill_fleet.services.context import Context, open_context
from skill_fleet.services.job_ending import Ended, ended_by
from skill_fleet.services.job_folders import mark
from skill_fleet.services.job_words import ended_as_job

_CRASHED = 1
_PATIENCE = 20.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the job named by the arguments.

    Returns:
        The exit code.
    """
    die_with_parent()
    parser = argparse.ArgumentParser(prog="skill_fleet.services.job_process")
    parser.add_argument("job")
    parser.add_argument("fence", type=int)
    parser.add_argument("worker")
    asked = parser.parse_args(arguments)
    return work(open_context(), Lease(asked.job, asked.fence, asked.worker))


def work(context: Context, lease: Lease) -> int:
    """Do the job of a lease.

    Returns:
        The exit code.
    """
    database = open_database(context.workspace, context.loaded.database, patience_seconds=_PATIENCE)
    store = JobStore(database)
    child = Child(store, FileStore(database), lease)
    listen(child.stop)
    child.start()
    try:
        return _concluded(context, store.get(lease.job_id), child)
    except LeaseLost as lost:
        return _said(lost, LOST)
    except SkillFleetError as error:
        return _said(error, _CRASHED)


def _concluded(context: Context, job: Job, child: Child) -> int:
    """The work, and its end in the store.

    Raises:
        LeaseLost: Somebody else has the job.
        StorageError: The store does not answer.
    """
    child.show(job.progress, "Starting.")
    with _spending(context, job, child) as at_its_end:
        ended = ended_as_job(_done(context, job, child), job.job_id, str(context.workspace.root))
        at_its_end()
        if ended.status is None:
            child.close(partial=ended.result)
            return INTERRUPTED
        child.conclude(ended.status, result=ended.result, error=ended.error, message=ended.message)
        return CONCLUDED


def _done(context: Context, job: Job, child: Child) -> Ended:
    context = replace(context, lease=child.lease)
    try:
        mark(context.workspace, job)
        if job.kind == "creation":
            from skill_fleet.services.job_create import create

            return create(context, job, child)
        from skill_fleet.services.job_work import optimize

        return optimize(context, job, child)
    except LeaseLost:
        raise
    except SkillFleetError as error:
        return ended_by(error, child.ask())


@contextlib.contextmanager
def _spending(context: Context, job: Job, child: Child) -> Iterator[Callable[[], None]]:
    """What the job has spent, by the journal, for as long as this lasts.

    A call under way is reserved, and not of unknown cost; one that is left at the end of the work is: what
    is yielded says that this is it.
    """
    from skill_fleet.llm.journal.journals import open_journal

    with contextlib.closing(open_journal(context.loaded, context.clock)) as journal:

        def until_now() -> Spending:
            found = journal.spent(job.job_id)
            return Spending.by(found, ended=False)

        def in_all() -> Spending:
            found = journal.spent(job.job_id)
            return Spending.by(found, ended=True)

        child.spend(until_now)
        try:
            yield lambda: child.spend(in_all)
        finally:
            child.spend(None)


def _said(error: SkillFleetError, code: int) -> int:
    sys.stderr.write(f"{error.message}\n")
    return code


def leave(code: int) -> NoReturn:
    """End the process now: threads that an optimizer left behind must not keep it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    try:
        ended = main()
    except Exception:  # noqa: BLE001 - the edge of the process: its worker reads it as a crash
        traceback.print_exc()
        ended = _CRASHED
    leave(ended)
