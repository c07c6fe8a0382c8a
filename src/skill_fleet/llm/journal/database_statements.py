"""What the journal says to PostgreSQL, each in one statement: built once, compiled once.

Their parameters are given by `values`.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from skill_fleet.llm.journal.database_tables import ATTEMPT, LEASE, RESPONSE

_NOTED = ("attempt", "run", "key", "phase", "model", "state", "reserved_tokens", "reserved_usd", "started_at")
_STORED = ("key", "body", "attempt", "model", "input_tokens", "output_tokens", "usd", "stored_at")


def values(**given: Any) -> dict[str, Any]:
    """The parameters of a statement, by the columns that they are for."""
    return {f"p_{name}": value for name, value in given.items()}


def _given(table: sa.Table, name: str) -> sa.BindParameter[object]:
    # A name of its own: SQLAlchemy takes a parameter with a column's name for a value to be set.
    return sa.bindparam(f"p_{name}", type_=table.c[name].type)


_HELD = (
    sa.select(sa.literal(1).label("held"))
    .where(
        LEASE.c.job_id == _given(LEASE, "job_id"),
        LEASE.c.fence == _given(LEASE, "fence"),
    )
    # Whoever takes the job up changes this row: it waits for our commit, or we wait for its and see it.
    .with_for_update(read=True, of=LEASE)
    .cte("held")
)

LOOKUP = sa.select(RESPONSE.c.body, RESPONSE.c.attempt).where(RESPONSE.c.key == _given(RESPONSE, "key"))

INTENT = pg.insert(ATTEMPT).values({name: _given(ATTEMPT, name) for name in _NOTED}).on_conflict_do_nothing()

FENCED_INTENT = (
    sa.select(sa.func.count())
    .select_from(_HELD)
    .add_cte(
        pg.insert(ATTEMPT)
        .from_select(_NOTED, sa.select(*(_given(ATTEMPT, name) for name in _NOTED)).select_from(_HELD))
        .on_conflict_do_nothing()
        .cte("noted")
    )
)
"""Notes a call where the lease is held, and gives 1; else notes nothing and gives 0."""

_ADDED = (
    pg.insert(RESPONSE)
    .values({name: _given(RESPONSE, name) for name in _STORED})
    .on_conflict_do_nothing()
    .returning(RESPONSE.c.key)
    .cte("added")
)

SETTLE = (
    sa.select(sa.func.count())
    .select_from(_ADDED)
    .add_cte(
        sa.update(ATTEMPT)
        .where(ATTEMPT.c.attempt == _given(ATTEMPT, "attempt"))
        .values(
            state="settled",
            ended_at=_given(RESPONSE, "stored_at"),
            **{name: _given(ATTEMPT, name) for name in ("input_tokens", "output_tokens", "usd")},
        )
        .cte("closed")
    )
)
"""Stores an answer and closes its attempt; gives 1, or 0 where the key had an answer."""

FAIL = (
    sa.update(ATTEMPT)
    .where(ATTEMPT.c.attempt == _given(ATTEMPT, "attempt"), ATTEMPT.c.state.in_(("open", "lost")))
    .values(
        {
            "state": "failed",
            **{
                name: _given(ATTEMPT, name)
                for name in ("reason", "possibly_billed", "input_tokens", "output_tokens", "usd", "ended_at")
            },
        }
    )
)

LOSE = (
    sa.update(ATTEMPT)
    .where(ATTEMPT.c.run == _given(ATTEMPT, "run"), ATTEMPT.c.state == "open")
    .values(state="lost", possibly_billed=True, ended_at=_given(ATTEMPT, "ended_at"))
)

_CLOSED = LOSE.where(sa.exists(sa.select(_HELD.c.held))).returning(ATTEMPT.c.id).cte("closed")

FENCED_LOSE = sa.select(
    sa.select(sa.func.count()).select_from(_HELD).scalar_subquery().label("held"),
    sa.select(sa.func.count()).select_from(_CLOSED).scalar_subquery().label("lost"),
)
"""The same where the lease is held: whether it was, and how many were lost."""

_FREE = sa.and_(ATTEMPT.c.state == "failed", sa.not_(ATTEMPT.c.possibly_billed))

_TOKENS = ATTEMPT.c.input_tokens + ATTEMPT.c.output_tokens
_BOUND_TOKENS = sa.func.coalesce(_TOKENS, ATTEMPT.c.reserved_tokens)
_BOUND_USD = sa.func.coalesce(ATTEMPT.c.usd, ATTEMPT.c.reserved_usd)

SPENT = (
    sa.select(
        ATTEMPT.c.state,
        ATTEMPT.c.phase,
        ATTEMPT.c.model,
        _FREE,
        sa.func.count(),
        sa.cast(sa.func.sum(ATTEMPT.c.input_tokens), sa.BigInteger),
        sa.cast(sa.func.sum(ATTEMPT.c.output_tokens), sa.BigInteger),
        sa.func.sum(ATTEMPT.c.usd),
        sa.func.count().filter(ATTEMPT.c.usd.is_(None), sa.func.coalesce(ATTEMPT.c.reserved_usd, 1) > 0),
        sa.cast(sa.func.sum(_BOUND_TOKENS), sa.BigInteger),
        sa.func.sum(_BOUND_USD),
        sa.func.count().filter(_TOKENS.is_(None)),
        sa.func.count().filter(_BOUND_TOKENS.is_(None)),
        sa.func.count().filter(_BOUND_USD.is_(None)),
    )
    .where(ATTEMPT.c.run == _given(ATTEMPT, "run"))
    .group_by(ATTEMPT.c.state, ATTEMPT.c.phase, ATTEMPT.c.model, _FREE)
)
"""Rows of `spent.Group`."""

ATTEMPTS_OF = sa.select(ATTEMPT.c.attempt).where(ATTEMPT.c.run == _given(ATTEMPT, "run"))

_RUNS = sa.bindparam("p_runs", type_=pg.ARRAY(sa.Text))
_PAID_ONLY_BY = RESPONSE.c.key.in_(
    sa.select(ATTEMPT.c.key)
    .where(ATTEMPT.c.run == sa.any_(_RUNS))
    .except_(sa.select(ATTEMPT.c.key).where(ATTEMPT.c.run != sa.all_(_RUNS)))
)
_BYTES = sa.cast(sa.func.coalesce(sa.func.sum(sa.func.octet_length(RESPONSE.c.body)), 0), sa.BigInteger)

PAID_ONLY_BY = sa.select(sa.func.count(), _BYTES).select_from(RESPONSE).where(_PAID_ONLY_BY)
"""How many responses only these runs made calls for, and their size."""

CLEAR_PAID_ONLY_BY = sa.delete(RESPONSE).where(_PAID_ONLY_BY)

STATS = sa.select(
    sa.select(sa.func.count()).select_from(RESPONSE).scalar_subquery(),
    sa.select(_BYTES).select_from(RESPONSE).scalar_subquery(),
    sa.select(sa.func.count()).select_from(ATTEMPT).scalar_subquery(),
)
