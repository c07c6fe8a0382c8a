"""The journal's promises, held by every store of it."""

import psycopg


def test_a_database_is_empty_and_its_own(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as db:
        assert db.execute("select count(*) from pg_tables where schemaname='public'").fetchone() == (0,)
        db.execute("create table t(i int)")
