r"""The tables of the service: jobs, what happened to them, their files, workers, keys, the audit.

Times are seconds since 1970 on the database's clock. JSON is text of ASCII characters, so that it holds what
PostgreSQL's own JSON and text refuse (`\u0000`, halves of surrogate pairs). On PostgreSQL all lie in the
schema `skill_fleet`; on SQLite the engine leaves its name out.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from skill_fleet.llm.journal.database_tables import LEASE, METADATA, SCHEMA

__all__ = [
    "API_KEY",
    "AUDIT",
    "FAILURE",
    "IDEMPOTENCY",
    "JOB",
    "JOB_EVENT",
    "JOB_FILE",
    "JOB_REQUEST",
    "JOB_ROUND",
    "LAST_RESULT",
    "LEASE",
    "METADATA",
    "PREPARED",
    "SCHEMA",
    "SPENT_ON",
    "WORKER",
    "database_now",
]


class database_now(FunctionElement[float]):  # noqa: N801 - a function of SQL, written as one
    """The time on the database's clock, in seconds since 1970."""

    inherit_cache: bool | None = True

    def __init__(self) -> None:
        super().__init__()
        self.type = sa.Double()


@compiles(database_now, "sqlite")
def _sqlite_now(*_: Any, **__: Any) -> str:
    # `unixepoch('subsec')` needs SQLite 3.42; a day number holds 40 microseconds.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _postgresql_now(*_: Any, **__: Any) -> str:
    return "(extract(epoch from clock_timestamp())::double precision)"


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


JOB = sa.Table(
    "job",
    METADATA,
    sa.Column("job_id", sa.Text, primary_key=True),
    _text("kind"),
    _text("status"),
    sa.Column("wanted", sa.Text),
    sa.Column("owner", sa.Text),
    _text("provider"),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("progress", sa.Double, nullable=False),
    _text("message"),
    sa.Column("simulated", sa.Boolean),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("crashes", sa.Integer, nullable=False),
    sa.Column("deaths", sa.Integer, nullable=False, server_default="0"),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("worker", sa.Text),
    sa.Column("max_usd", sa.Double),
    sa.Column("max_calls", sa.BigInteger),
    sa.Column("max_tokens", sa.BigInteger),
    sa.Column("max_minutes", sa.Double),
    sa.Column("calls", sa.BigInteger, nullable=False),
    sa.Column("usd", sa.Double, nullable=False),
    sa.Column("usd_unknown_calls", sa.BigInteger, nullable=False),
    sa.Column("usd_most", sa.Double),
    sa.Column("possibly_billed", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("started_at", sa.Double),
    sa.Column("finished_at", sa.Double),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("events", sa.BigInteger, nullable=False),
    sa.Column("enqueued_at", sa.Double),
    sa.Column("removed_at", sa.Double),
    sa.Column("removed_by", sa.Text),
    _text("metadata"),
    sa.Column("error", sa.Text),
    sa.Column("result", sa.Text),
    sa.Index("job_newest", "created_at", "job_id"),
    sa.Index("job_newest_of_owner", "owner", "created_at", "job_id"),
    sa.Index("job_by_status", "status", "created_at"),
)
"""One row a job. `events` is the number of its last event; `enqueued_at` is null until the queue has it.

What can be long comes last: SQLite reads a row from its beginning.
"""

JOB_REQUEST = sa.Table(
    "job_request",
    METADATA,
    sa.Column("job_id", sa.Text, sa.ForeignKey(JOB.c.job_id), primary_key=True),
    _text("request"),
)
"""What the work of a job is given, up to megabytes: apart, so that no change of the job writes it again."""

JOB_EVENT = sa.Table(
    "job_event",
    METADATA,
    sa.Column("job_id", sa.Text, sa.ForeignKey(JOB.c.job_id), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    _text("kind"),
    _text("data"),
)
"""What happened, in order. Triggers refuse every change, and a deletion while the job is not removed."""

JOB_FILE = sa.Table(
    "job_file",
    METADATA,
    sa.Column("job_id", sa.Text, sa.ForeignKey(JOB.c.job_id), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("saved_at", sa.Double, nullable=False),
)
"""The files with which another machine can go on."""

JOB_ROUND = sa.Table(
    "job_round",
    METADATA,
    sa.Column("job_id", sa.Text, sa.ForeignKey(JOB.c.job_id), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    _text("optimizer"),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Index("job_round_of_optimizer", "optimizer"),
)
"""How long each round of a finished optimization took; stays when the job is removed."""

FAILURE = sa.Table(
    "failure",
    METADATA,
    sa.Column("code", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
)
"""How often jobs failed or stopped with each code; never falls."""

LAST_RESULT = sa.Table(
    "last_result",
    METADATA,
    sa.Column("optimizer", sa.Text, primary_key=True),
    _text("job_id"),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("simulated", sa.Boolean, nullable=False),
    sa.Column("accuracy", sa.Double),
    sa.Column("quality", sa.Double),
    sa.Column("verdict", sa.Text),
)
"""What the last successful run of each optimizer came to; stays when the job is removed."""

SPENT_ON = sa.Table(
    "spent_on",
    METADATA,
    sa.Column("job_id", sa.Text, sa.ForeignKey(JOB.c.job_id), primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True),
    sa.Column("owner", sa.Text),
    sa.Column("calls", sa.BigInteger, nullable=False),
    sa.Column("usd", sa.Double, nullable=False),
    sa.Column("usd_unknown_calls", sa.BigInteger, nullable=False),
    sa.Index("spent_on_day_of_owner", "owner", "day"),
)
"""What a job spent on a day (UTC, days since 1970); stays when the job is removed."""

IDEMPOTENCY = sa.Table(
    "idempotency",
    METADATA,
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    _text("digest"),
    sa.Column("job_id", sa.Text, nullable=False),
    sa.Index("idempotency_of_job", "job_id"),
)
"""Which job an owner's key has made, and of what request. No owner is the empty name."""

WORKER = sa.Table(
    "worker",
    METADATA,
    sa.Column("worker_id", sa.Text, primary_key=True),
    _text("host"),
    sa.Column("pid", sa.BigInteger, nullable=False),
    _text("version"),
    _text("state"),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("heartbeat_at", sa.Double, nullable=False),
)
"""One row a start of a worker."""

API_KEY = sa.Table(
    "api_key",
    METADATA,
    sa.Column("key_id", sa.Text, primary_key=True),
    _text("name"),
    _text("scopes"),
    sa.Column("usd_per_day", sa.Double),
    sa.Column("calls_per_day", sa.BigInteger),
    _text("secret_sha256"),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("last_used_at", sa.Double),
    sa.Column("revoked_at", sa.Double),
)
"""One row a key; of its secret only a hash. Scopes are separated by spaces."""

AUDIT = sa.Table(
    "audit",
    METADATA,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    _text("key_id"),
    _text("action"),
    _text("subject"),
    _text("data"),
    sa.Index("audit_at", "at"),
)
"""Who did what. A key's id, or `local` where no key was needed."""

PREPARED = sa.Table(
    "prepared",
    METADATA,
    sa.Column("part", sa.Text, primary_key=True),
    _text("version"),
)
"""What was made ready by which version, beside these tables: the queue's own."""
