"""What alembic runs: the migrations, on the connection that `jobs.migrate` hands in."""

from alembic import context

from skill_fleet.jobs.tables import METADATA, SCHEMA

connection = context.config.attributes["connection"]
embedded = connection.dialect.name == "sqlite"
context.configure(
    connection=connection,
    target_metadata=METADATA,
    version_table_schema=None if embedded else SCHEMA,
    include_schemas=not embedded,
    render_as_batch=embedded,
)
context.run_migrations()
