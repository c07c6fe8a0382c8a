"""What a job may have cost at most, and how many of its calls may have been billed without an answer."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. Of jobs that were there before, nobody knows: no upper end, and no such calls."""
    schema = None if op.get_bind().dialect.name == "sqlite" else "skill_fleet"
    op.add_column("job", sa.Column("usd_most", sa.Double()), schema=schema)
    number = sa.Column("possibly_billed", sa.BigInteger(), server_default="0", nullable=False)
    op.add_column("job", number, schema=schema)
