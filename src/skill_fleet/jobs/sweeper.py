"""Housekeeping: jobs that the queue was never told of, and jobs that are kept no longer."""

from skill_fleet.jobs.queue import JobQueue
from skill_fleet.jobs.store import JobStore

LEFT_BEHIND_SECONDS = 2.0
"""A job that is not in the queue so long after it was written down was left by a process that died."""


def sweep(store: JobStore, queue: JobQueue, *, older_than: float = LEFT_BEHIND_SECONDS) -> int:
    """Put the jobs into the queue that were left out of it.

    Returns:
        How many.

    Raises:
        StorageError: The database does not answer.
    """
    left = store.left_behind(older_than)
    for job in left:
        queue.enqueue(job)
        store.enqueued(job.job_id, job.attempt)
    return len(left)


def expire(store: JobStore, queue: JobQueue, keep_days: float) -> int:
    """Remove jobs that were over long ago, here and in the queue.

    Returns:
        How many.

    Raises:
        StorageError: The database does not answer.
    """
    gone = store.expire(keep_days)
    queue.forget(keep_days)
    return gone
