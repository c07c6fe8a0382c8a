"""How often the workers of a job died under it, apart from its own crashes."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column. What was counted until now may be either: jobs that are not over begin anew.

    What those that are over counted stays, for it is why they failed.
    """
    schema = None if op.get_bind().dialect.name == "sqlite" else "skill_fleet"
    number = sa.Column("deaths", sa.Integer(), server_default="0", nullable=False)
    op.add_column("job", number, schema=schema)
    job = sa.table("job", sa.column("status", sa.String), sa.column("crashes", sa.Integer), schema=schema)
    to_go_on = job.c.status.in_(("queued", "running", "paused"))
    op.execute(sa.update(job).where(to_go_on, job.c.crashes > 0).values(crashes=0))
