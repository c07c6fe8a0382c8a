"""A job's caps on tokens and minutes, beside those on dollars and calls."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_AT_ONCE = 20


def upgrade() -> None:
    """Add the columns, and fill them from what each job was given.

    That is read here and not by the database: PostgreSQL's functions for JSON refuse texts with a NUL in it.
    """
    db = op.get_bind()
    schema = None if db.dialect.name == "sqlite" else "skill_fleet"
    op.add_column("job", sa.Column("max_tokens", sa.BigInteger()), schema=schema)
    op.add_column("job", sa.Column("max_minutes", sa.Double()), schema=schema)
    job = sa.table(
        "job", sa.column("job_id"), sa.column("max_tokens"), sa.column("max_minutes"), schema=schema
    )
    request = sa.table("job_request", sa.column("job_id"), sa.column("request"), schema=schema)
    names = list(db.scalars(sa.select(request.c.job_id)))
    for start in range(0, len(names), _AT_ONCE):  # each may have megabytes
        some = request.c.job_id.in_(names[start : start + _AT_ONCE])
        for job_id, text in db.execute(sa.select(request.c.job_id, request.c.request).where(some)).all():
            budget = json.loads(text).get("budget") or {}
            caps = {name: budget.get(name) for name in ("max_tokens", "max_minutes")}
            if any(cap is not None for cap in caps.values()):
                db.execute(sa.update(job).where(job.c.job_id == job_id).values(caps))
