"""The first tables: jobs, workers, keys; on PostgreSQL also the journal."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_KEEP_EVENTS_SQLITE = (
    """
    create trigger job_event_unchanged before update on job_event
    begin select raise(abort, 'events of a job are never changed'); end
    """,
    """
    create trigger job_event_kept before delete on job_event
    when not exists (select 1 from job where job_id = old.job_id and removed_at is not null)
    begin select raise(abort, 'events of a job are kept until it is removed'); end
    """,
)
_KEEP_EVENTS_POSTGRESQL = (
    """
    create function skill_fleet.keep_job_event() returns trigger language plpgsql as $$
    begin
      if tg_op = 'DELETE' and exists (
        select 1 from skill_fleet.job where job_id = old.job_id and removed_at is not null
      ) then
        return old;
      end if;
      raise exception 'events of a job are never changed, and kept until it is removed';
    end $$
    """,
    """
    create trigger job_event_kept before update or delete on skill_fleet.job_event
    for each row execute function skill_fleet.keep_job_event()
    """,
)


def upgrade() -> None:
    """Make the tables, and the triggers that keep the events as they were written."""
    embedded = op.get_bind().dialect.name == "sqlite"
    schema = None if embedded else "skill_fleet"
    _jobs(schema)
    _of_jobs(schema)
    _around(schema)
    if not embedded:
        _journal(schema)
    for statement in _KEEP_EVENTS_SQLITE if embedded else _KEEP_EVENTS_POSTGRESQL:
        op.execute(statement)


def _jobs(schema: str | None) -> None:
    op.create_table(
        "job",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Text()),
        sa.Column("owner", sa.Text()),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("simulated", sa.Boolean()),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.Text()),
        sa.Column("max_usd", sa.Double()),
        sa.Column("max_calls", sa.BigInteger()),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("usd", sa.Double(), nullable=False),
        sa.Column("usd_unknown_calls", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double()),
        sa.Column("finished_at", sa.Double()),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("enqueued_at", sa.Double()),
        sa.Column("removed_at", sa.Double()),
        sa.Column("removed_by", sa.Text()),
        sa.Column("metadata", sa.Text(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("result", sa.Text()),
        sa.PrimaryKeyConstraint("job_id"),
        schema=schema,
    )
    op.create_index("job_by_status", "job", ["status", "created_at"], schema=schema)
    op.create_index("job_newest", "job", ["created_at", "job_id"], schema=schema)
    op.create_index("job_newest_of_owner", "job", ["owner", "created_at", "job_id"], schema=schema)
    op.create_table(
        "lease",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("taken_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("job_id"),
        schema=schema,
    )
    op.create_table(
        "idempotency",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "key"),
        schema=schema,
    )
    op.create_index("idempotency_of_job", "idempotency", ["job_id"], schema=schema)


def _of_jobs(schema: str | None) -> None:
    job_id = "job.job_id" if schema is None else f"{schema}.job.job_id"
    op.create_table(
        "job_event",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], [job_id]),
        sa.PrimaryKeyConstraint("job_id", "number"),
        schema=schema,
    )
    op.create_table(
        "job_request",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], [job_id]),
        sa.PrimaryKeyConstraint("job_id"),
        schema=schema,
    )
    op.create_table(
        "job_file",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("saved_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], [job_id]),
        sa.PrimaryKeyConstraint("job_id", "name"),
        schema=schema,
    )
    op.create_table(
        "job_round",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("optimizer", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], [job_id]),
        sa.PrimaryKeyConstraint("job_id", "number"),
        schema=schema,
    )
    op.create_index("job_round_of_optimizer", "job_round", ["optimizer"], schema=schema)
    op.create_table(
        "spent_on",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text()),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("usd", sa.Double(), nullable=False),
        sa.Column("usd_unknown_calls", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], [job_id]),
        sa.PrimaryKeyConstraint("job_id", "day"),
        schema=schema,
    )
    op.create_index("spent_on_day_of_owner", "spent_on", ["owner", "day"], schema=schema)
    op.create_table(
        "last_result",
        sa.Column("optimizer", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("accuracy", sa.Double()),
        sa.Column("quality", sa.Double()),
        sa.Column("verdict", sa.Text()),
        sa.PrimaryKeyConstraint("optimizer"),
        schema=schema,
    )
    op.create_table(
        "failure",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("code"),
        schema=schema,
    )


def _around(schema: str | None) -> None:
    op.create_table(
        "worker",
        sa.Column("worker_id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("heartbeat_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("worker_id"),
        schema=schema,
    )
    op.create_table(
        "api_key",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("usd_per_day", sa.Double()),
        sa.Column("calls_per_day", sa.BigInteger()),
        sa.Column("secret_sha256", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("last_used_at", sa.Double()),
        sa.Column("revoked_at", sa.Double()),
        sa.PrimaryKeyConstraint("key_id"),
        schema=schema,
    )
    op.create_table(
        "audit",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        schema=schema,
    )
    op.create_index("audit_at", "audit", ["at"], schema=schema)
    op.create_table(
        "prepared",
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("part"),
        schema=schema,
    )


def _journal(schema: str | None) -> None:
    op.create_table(
        "response",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger()),
        sa.Column("output_tokens", sa.BigInteger()),
        sa.Column("usd", sa.Double()),
        sa.Column("stored_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        schema=schema,
    )
    op.create_table(
        "attempt",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("attempt", sa.Text(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger()),
        sa.Column("output_tokens", sa.BigInteger()),
        sa.Column("usd", sa.Double()),
        sa.Column("reason", sa.Text()),
        sa.Column("reserved_tokens", sa.BigInteger()),
        sa.Column("reserved_usd", sa.Double()),
        sa.Column("possibly_billed", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double()),
        sa.CheckConstraint("state in ('open', 'settled', 'failed', 'lost')", name="attempt_state"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("attempt"),
        schema=schema,
    )
    op.create_index("attempt_of_run", "attempt", ["run"], schema=schema)
    op.create_table(
        "test_reading",
        sa.Column("test", sa.Text(), nullable=False),
        sa.Column("reader", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("test", "reader"),
        sa.UniqueConstraint("test", "number", name="test_reading_number"),
        schema=schema,
    )
