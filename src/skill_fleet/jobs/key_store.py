"""Keys that may use the service. A secret is shown once, when it is made; only a hash of it is kept."""

import hashlib
import hmac
import secrets
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from skill_fleet.foundation.errors import NotFound, UsageError
from skill_fleet.jobs.connection import Database, QuickSelect
from skill_fleet.jobs.records import ApiKey
from skill_fleet.jobs.rows import clean, storable, whole
from skill_fleet.jobs.tables import API_KEY, database_now

Keys = list[ApiKey]  # inside the class, `list` is its method

SCOPES = ("read", "run", "admin")
_PREFIX = "sf"
_ID_BYTES = 6
_SECRET_BYTES = 32
_USED_EVERY_SECONDS = 60.0
_LONGEST = 512

_COLUMNS = (
    API_KEY.c.key_id,
    API_KEY.c.name,
    API_KEY.c.scopes,
    API_KEY.c.usd_per_day,
    API_KEY.c.calls_per_day,
    API_KEY.c.created_at,
    API_KEY.c.last_used_at,
    API_KEY.c.revoked_at,
)
_BY_ID = sa.select(*_COLUMNS, API_KEY.c.secret_sha256, database_now()).where(
    API_KEY.c.key_id == sa.bindparam("value")
)
_QUICK = QuickSelect(_BY_ID)
# What an unknown name's secret is compared with, so that it takes as long as a known one's.
_NOBODY = hashlib.sha256(b"").hexdigest()


class KeyStore:
    """The keys in a database.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def create(
        self,
        name: str,
        scopes: Collection[str],
        usd_per_day: float | None = None,
        calls_per_day: int | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key.

        Args:
            name: What it is called.
            scopes: Of `read`, `run`, `admin`; each holds those before it.
            usd_per_day: Cap on dollars a day (UTC); None is no cap.
            calls_per_day: Cap on calls a day.

        Returns:
            The key, and what its bearer presents: `sf_<key_id>_<secret>`, which nobody can show again.

        Raises:
            UsageError: A scope is none, or there is none.
        """
        unknown = sorted(set(scopes) - set(SCOPES))
        if unknown or not scopes:
            raise UsageError(
                f"A key's scope is one of {', '.join(SCOPES)}, not {', '.join(unknown) or 'nothing'}."
            )
        key_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_hex(_SECRET_BYTES)
        statement = (
            API_KEY.insert()
            .values(
                key_id=key_id,
                name=clean(name),
                scopes=" ".join(scope for scope in SCOPES if scope in scopes),
                usd_per_day=usd_per_day,
                calls_per_day=whole(calls_per_day),
                secret_sha256=_hash(secret),
                created_at=database_now(),
            )
            .returning(*_COLUMNS)
        )
        row = self.database.write(lambda db: db.execute(statement).one())
        return _key(row), f"{_PREFIX}_{key_id}_{secret}"

    def list(self) -> Keys:
        """All keys, also revoked ones, in the order of their making."""
        ordered = sa.select(*_COLUMNS).order_by(API_KEY.c.created_at, API_KEY.c.key_id)
        return [_key(row) for row in self.database.read(lambda db: db.execute(ordered).all())]

    def get(self, key_id: str) -> ApiKey:
        """The key of this id.

        Raises:
            NotFound: There is none.
        """
        row = self._row(key_id)
        if row is None:
            raise _unknown(key_id)
        return _key(row)

    def revoke(self, key_id: str) -> ApiKey:
        """End a key for good; one that was revoked before stays as it is.

        Raises:
            NotFound: There is none.
        """
        ended = sa.func.coalesce(API_KEY.c.revoked_at, database_now())
        statement = sa.update(API_KEY).where(API_KEY.c.key_id == clean(key_id)).values(revoked_at=ended)
        row = self.database.write(lambda db: db.execute(statement.returning(*_COLUMNS)).first())
        if row is None:
            raise _unknown(key_id)
        return _key(row)

    def find(self, presented: str) -> ApiKey | None:
        """The good key that somebody presents, or None: unknown, wrong and revoked ones look the same.

        A wrong secret takes as long as a right one, whatever it begins with.
        """
        key_id, secret = _parts(presented)
        row = self._row(key_id)
        kept = str(row[8]) if row is not None else _NOBODY
        right = hmac.compare_digest(_hash(secret), kept)
        if row is None or not right or row[7] is not None:
            return None
        key, now = _key(row), float(row[9])
        if key.last_used_at is None or now - key.last_used_at >= _USED_EVERY_SECONDS:
            self._used(key_id)
        return key

    def any_good(self) -> bool:
        """Whether there is a key that is not revoked."""
        good = sa.select(API_KEY.c.key_id).where(API_KEY.c.revoked_at.is_(None)).limit(1)
        return self.database.read(lambda db: db.execute(good).first()) is not None

    def _row(self, key_id: str) -> Any:
        return self.database.quickly(_QUICK, key_id) if storable(key_id) else None

    def _used(self, key_id: str) -> None:
        # By the condition, of many requests at once one writes.
        long_ago = sa.or_(
            API_KEY.c.last_used_at.is_(None),
            API_KEY.c.last_used_at <= database_now() - _USED_EVERY_SECONDS,
        )
        statement = sa.update(API_KEY).where(API_KEY.c.key_id == key_id, long_ago)
        self.database.write(lambda db: db.execute(statement.values(last_used_at=database_now())))


def _parts(presented: str) -> tuple[str, str]:
    """Id and secret of what was presented; two empty words where it has another form."""
    if len(presented) > _LONGEST or not presented.isascii():
        return "", ""
    prefix, _, rest = presented.partition("_")
    key_id, _, secret = rest.partition("_")
    return (key_id, secret) if prefix == _PREFIX and key_id and secret else ("", "")


def _hash(secret: str) -> str:
    # 256 random bits need no slow hash: there is no dictionary of them.
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(row: Any) -> ApiKey:
    key_id, name, scopes, *rest = row[:8]
    return ApiKey(key_id, name, tuple(scopes.split()), *rest)


def _unknown(key_id: str) -> NotFound:
    return NotFound(f"There is no key {clean(key_id)[:100]!r}.", hint="See: skill-fleet keys list.")
