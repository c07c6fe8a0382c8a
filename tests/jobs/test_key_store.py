"""Keys: shown once, kept as a hash, found by nobody who does not know all of one."""

import hashlib
import hmac
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from skill_fleet.foundation.errors import NotFound, UsageError
from skill_fleet.jobs import key_store
from skill_fleet.jobs.database import Database
from skill_fleet.jobs.key_store import KeyStore
from skill_fleet.jobs.tables import API_KEY, database_now


@pytest.fixture
def keys(database: Database) -> KeyStore:
    return KeyStore(database)


def rows(keys: KeyStore) -> list[sa.Row]:
    return keys.database.read(lambda db: list(db.execute(sa.select(API_KEY))))


def test_a_key_is_found_by_what_was_shown(keys: KeyStore) -> None:
    key, secret = keys.create("ci\0", ["admin", "read"], usd_per_day=1.5, calls_per_day=10**30)
    assert (key.name, key.scopes, key.usd_per_day) == ("ci\ufffd", ("read", "admin"), 1.5)
    assert key.calls_per_day == 2**63 - 1
    found = keys.find(secret)
    assert found == key
    assert keys.get(key.key_id).last_used_at is not None


def test_the_secret_is_nowhere(keys: KeyStore) -> None:
    key, shown = keys.create("x", ["read"])
    secret = shown.rpartition("_")[2]
    assert len(bytes.fromhex(secret)) == 32
    kept = repr(rows(keys))
    assert secret not in kept
    assert hashlib.sha256(secret.encode()).hexdigest() in kept
    assert secret not in repr(key)
    assert keys.create("y", ["read"])[1] != shown


def test_what_is_not_a_key_finds_nothing(keys: KeyStore) -> None:
    key, shown = keys.create("x", ["admin"])
    _, other = keys.create("y", ["admin"])
    prefix, key_id, secret = shown.split("_")
    wrong = [
        "", "sf", "sf_", "sf__", f"sf_{key_id}", f"sf_{key_id}_", f"sf__{secret}", secret, key_id, shown[:-1],
        shown + "0", shown.upper(), f" {shown}", f"{shown}\n", f"sk_{key_id}_{secret}", f"{key_id}_{secret}",
        f"sf_{key_id}_{other.rpartition('_')[2]}", f"sf_{key_id}\0_{secret}", f"sf_\ud800_{secret}",
        f"sf_{'é' * 6}_{secret}", f"sf_{key_id}_" + "0" * 64, "sf_%_" + secret, "x" * 10**6,
        f"sf_{key_id}_{hashlib.sha256(secret.encode()).hexdigest()}", f"sf_' or 1=1 --_{secret}",
    ]  # fmt: skip
    assert [presented for presented in wrong if keys.find(presented) is not None] == []
    assert prefix == "sf"
    assert keys.find(shown) == key


def test_a_revoked_key_is_no_key(keys: KeyStore) -> None:
    key, shown = keys.create("x", ["run"])
    assert keys.any_good()
    revoked = keys.revoke(key.key_id)
    assert revoked.revoked_at is not None
    assert keys.find(shown) is None
    assert not keys.any_good()
    assert keys.revoke(key.key_id) == revoked, "a second time changes nothing"
    assert keys.list() == [revoked]
    for unknown in ("never", "\0", ""):
        with pytest.raises(NotFound):
            keys.revoke(unknown)
        with pytest.raises(NotFound):
            keys.get(unknown)


@pytest.mark.parametrize("scopes", [[], ["write"], ["read", "Admin"], [""]])
def test_a_scope_that_there_is_not_makes_no_key(keys: KeyStore, scopes: list[str]) -> None:
    with pytest.raises(UsageError, match="read, run, admin"):
        keys.create("x", scopes)
    assert keys.list() == []


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    seen: list[tuple[str, str]] = []

    def compare(left: str, right: str) -> bool:
        seen.append((left, right))
        return hmac.compare_digest(left, right)

    class Watched:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(key_store, "hmac", Watched)
    return seen


def test_every_wrong_key_is_compared_once_and_in_constant_time(
    keys: KeyStore, compared: list[tuple[str, str]]
) -> None:
    key, shown = keys.create("x", ["run"])
    presented = [shown, shown[:-1] + "g", f"sf_unknown_{'0' * 64}", "nonsense", ""]
    keys.revoke(key.key_id)
    for one in presented:
        keys.find(one)
    assert len(compared) == len(presented), "also an unknown name and no key at all are compared"
    assert {(len(left), len(right)) for left, right in compared} == {(64, 64)}, "hashes, never secrets"


def test_the_last_use_is_written_once_a_minute(keys: KeyStore) -> None:
    key, shown = keys.create("x", ["run"])

    def used_at() -> float:
        at = keys.get(key.key_id).last_used_at
        assert at is not None
        return at

    keys.find(shown)
    first = used_at()
    for _ in range(5):
        keys.find(shown)
    assert used_at() == first
    long_ago = sa.update(API_KEY).values(last_used_at=database_now() - 61)
    keys.database.write(lambda db: db.execute(long_ago))
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(keys.find, [shown] * 16))
    assert used_at() >= first


def test_a_wrong_secret_is_no_use_of_the_key(keys: KeyStore) -> None:
    key, shown = keys.create("x", ["run"])
    keys.find(shown[:-1] + ("0" if shown[-1] != "0" else "1"))
    assert keys.get(key.key_id).last_used_at is None
