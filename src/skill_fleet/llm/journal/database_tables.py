r"""The tables of the journal and of the right to write into it, where both live in a database.

Times are seconds since 1970. Answers are JSON text: as text it holds what PostgreSQL's own JSON refuses
(`\u0000`), and is given back to the letter. The migrations of `jobs` create these tables; on SQLite, where
no schema is named and the journal lies in files of its own, only `lease`.
"""

import sqlalchemy as sa

SCHEMA = "skill_fleet"
METADATA = sa.MetaData(schema=SCHEMA)

REVISION = "0004"
"""The revision of all tables that this code works with; a later one is a greater number of four digits."""
VERSION = sa.Table("alembic_version", sa.MetaData(schema=SCHEMA), sa.Column("version_num", sa.Text))
"""One row: the revision that the tables are of."""

RESPONSE = sa.Table(
    "response",
    METADATA,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("attempt", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("input_tokens", sa.BigInteger),
    sa.Column("output_tokens", sa.BigInteger),
    sa.Column("usd", sa.Double),
    sa.Column("stored_at", sa.Double, nullable=False),
)
"""One row a key: the answer."""

ATTEMPT = sa.Table(
    "attempt",
    METADATA,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("attempt", sa.Text, nullable=False, unique=True),
    sa.Column("run", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("phase", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("input_tokens", sa.BigInteger),
    sa.Column("output_tokens", sa.BigInteger),
    sa.Column("usd", sa.Double),
    sa.Column("reason", sa.Text),
    sa.Column("reserved_tokens", sa.BigInteger),
    sa.Column("reserved_usd", sa.Double),
    sa.Column("possibly_billed", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double),
    sa.CheckConstraint("state in ('open', 'settled', 'failed', 'lost')", name="attempt_state"),
    sa.Index("attempt_of_run", "run"),
)
"""The ledger: one row an attempt, written before the call and closed after it."""

TEST_READING = sa.Table(
    "test_reading",
    METADATA,
    sa.Column("test", sa.Text, primary_key=True),
    sa.Column("reader", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.UniqueConstraint("test", "number", name="test_reading_number"),
)
"""Which program was the how-manieth to be compared on a sealed test."""

LEASE = sa.Table(
    "lease",
    METADATA,
    sa.Column("job_id", sa.Text, primary_key=True),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("taken_at", sa.Double, nullable=False),
)
"""Who may write for a job: the number rises with every taking-up, and lower ones have lost it."""

JOURNAL_TABLES = (RESPONSE, ATTEMPT, TEST_READING)
"""What only PostgreSQL has."""
