"""What failures of PostgreSQL mean to people, and that they are told without the password."""

import psycopg
import pytest
import sqlalchemy as sa

from skill_fleet.foundation.errors import StorageError
from skill_fleet.llm.journal.database_engine import explained, postgres_engine

URLS = [
    "postgresql://me:hunter%402@db.example:1/fleet",
    "postgresql://db.example:1/fleet?password=hunter%402",
]


@pytest.mark.parametrize(
    ("url", "form"), [(URLS[0], "hunter@2"), (URLS[0], "hunter%402"), (URLS[1], "hunter@2")]
)
@pytest.mark.parametrize(
    "said",
    [
        "connection to server failed: invalid password {} for user me",  # passes: of the connection
        'FATAL: password authentication failed for user "me" ({})',  # does not pass
    ],
)
def test_what_the_database_says_is_told_without_the_password(said: str, url: str, form: str) -> None:
    error = sa.exc.OperationalError("select 1", {}, psycopg.OperationalError(said.format(form)))
    told = explained(error, postgres_engine(url))
    assert isinstance(told, StorageError)
    assert "[secret]" in told.message
    assert "hunter" not in f"{told!r} {told} {told.message} {told.hint}"
    assert "PostgreSQL db.example:1/fleet" in told.message
