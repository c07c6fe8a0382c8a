"""What the queue's library keeps of jobs can be read by anyone and runs nothing: JSON, never a pickle."""

import json
import re
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from jobs.workers_help import Fleet, within

VALUES = {"inputs", "output", "error", "message", "value"}
PICKLED = re.compile(r"^gA[A-Za-z0-9+/]")
"""How base64 of a pickle of protocol 2 to 5 begins."""


def kept(fleet: Fleet) -> Iterator[tuple[str, str, Any, str | None]]:
    """Table, column, value and serialization of every value in the queue's tables."""
    address = sa.make_url(fleet.database.queue_url)
    if not fleet.database.is_sqlite:
        address = address.set(drivername="postgresql+psycopg")
    engine = sa.create_engine(address)
    try:
        with engine.connect() as db:
            tables = sa.MetaData()
            tables.reflect(db, schema=None if fleet.database.is_sqlite else "dbos")
            for table in tables.tables.values():
                for row in db.execute(sa.select(table)).mappings():
                    for name in VALUES & row.keys():
                        if row[name] is not None:
                            yield table.name, name, row[name], row.get("serialization")
    finally:
        engine.dispose()


def test_jobs_and_their_steps_are_kept_as_json(fleet: Fleet) -> None:
    fleet.here(nothing=0.0)
    done = fleet.job(provider="ein ä")
    ended = fleet.wait(done, "succeeded")
    within(lambda: not fleet.queue.is_live(ended.workflow_id), "that it is over for the queue")
    waiting = fleet.store.get(fleet.job(enqueue=False))
    assert fleet.worker_here is not None
    fleet.worker_here.stop()
    fleet.put_in(waiting)
    found = list(kept(fleet))
    for table, column, value, serialization in found:
        assert isinstance(value, str), (table, column)
        assert not PICKLED.match(value), (table, column)
        json.loads(value)
        assert serialization in {"portable_json", None}, (table, column)
    where = {(table, column) for table, column, *_ in found}
    assert ("operation_outputs", "output") in where, "the results of steps"
    assert {"inputs", "output"} <= {column for table, column in where if table.startswith("workflow")}
    inputs = [value for _, column, value, _ in found if column == "inputs"]
    assert all(any(job in value for value in inputs) for job in (done, waiting.job_id))
