"""What alembic runs; see `skill_fleet.jobs.migrate`."""
