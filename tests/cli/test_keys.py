"""`keys …`: shown once, kept as a hash, ended at once."""

import re

import pytest

SECRET = re.compile(r"sf_[0-9a-f]{12}_[0-9a-f]{64}")


def everything(ws) -> bytes:
    return b"".join(path.read_bytes() for path in (ws / ".skill-fleet").rglob("*") if path.is_file())


def test_a_key_is_shown_once_and_is_nowhere_else(cli, ws):
    made = cli("keys", "create", "ci")
    assert made.code == 0
    assert SECRET.fullmatch(made.out.strip())
    key = made.out.strip()
    key_id, secret = key.split("_")[1:]
    assert key_id in made.err
    assert secret not in made.err
    listed = cli("keys", "list")
    assert key_id in listed.out
    assert secret not in listed.out + listed.err + cli("keys", "list", "--json").out
    assert secret.encode() not in everything(ws)


def test_a_key_as_json_with_its_day(cli):
    made = cli(
        *("keys", "create", "team", "--scope", "admin", "--max-cost-per-day", "20", "--json"),
        *("--max-calls-per-day", "1000"),
    ).json
    assert SECRET.fullmatch(made["key"])
    assert (made["name"], made["scopes"]) == ("team", ["admin"])
    assert (made["usd_per_day"], made["calls_per_day"]) == (20.0, 1000)
    (line,) = cli("keys", "list", "--json").lines
    assert "key" not in line
    assert line["today"] == {"usd": 0.0, "calls": 0, "usd_unknown_calls": 0}
    assert "$0 of $20.00, 0 of 1,000 calls" in cli("keys", "list").out


def test_the_scope_is_run_unless_another_is_named(cli):
    assert cli("keys", "create", "a", "--json").json["scopes"] == ["run"]
    assert cli("keys", "create", "b", "--scope", "read", "--json").json["scopes"] == ["read"]


def test_a_revoked_key_stays_in_the_list_and_the_last_one_opens_the_door(cli):
    first = cli("keys", "create", "a", "--json").json["key_id"]
    second = cli("keys", "create", "b", "--json").json["key_id"]
    ended = cli("keys", "revoke", first)
    assert ended.out == f"Key {first} 'a' is revoked.\n"
    assert not ended.err
    assert "open to this machine again" in cli("keys", "revoke", second).err
    again = cli("keys", "revoke", second)
    at = cli("keys", "list", "--json").lines[1]["revoked_at"]
    assert again.out == f"Key {second} 'b' was revoked before, at {at[:10]} {at[11:19]} UTC.\n"
    assert (again.code, again.err) == (0, "")
    assert cli("keys", "revoke", second, "--json").json["revoked_at"] == at
    assert all(line["revoked_at"] for line in cli("keys", "list", "--json").lines)
    assert cli("keys", "list").out.count("revoked") == 2


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("create", "a", "--scope", "root"), 2),
        (("create", " "), 2),
        (("create", "a\x1b[2J"), 2),
        (("create", "a", "--max-cost-per-day", "0"), 2),
        (("create", "a", "--max-cost-per-day", "nan"), 2),
        (("create",), 2),
        (("revoke", "nobody"), 3),
        (("revoke", "\x00"), 3),
    ],
)
def test_what_cannot_be_a_key_is_refused(cli, words, code):
    ended = cli("keys", *words)
    assert ended.code == code
    assert ended.err.startswith("error: ")
    assert "\x1b" not in ended.err
    assert cli("keys", "list", "--json").out == ""


def test_without_a_key_it_says_how_to_make_one(cli):
    ended = cli("keys", "list")
    assert (ended.code, ended.out) == (0, "")
    assert "skill-fleet keys create NAME" in ended.err


def test_an_address_in_the_command_line_is_warned_of_and_its_password_never_shown(cli):
    ended = cli("keys", "list", "--database-url", "postgresql://fleet:hunter2@127.0.0.1:1/fleet")
    assert ended.code == 1
    assert "SKILL_FLEET_DATABASE_URL is safer" in ended.err
    assert "hunter2" not in ended.err
    wrong = cli("keys", "list", "--database-url", "mysql://fleet:hunter2@127.0.0.1/fleet")
    assert wrong.code == 2
    assert "hunter2" not in wrong.err


def test_keys_on_postgresql(cli, postgres_url, monkeypatch, ws):
    monkeypatch.setenv("SKILL_FLEET_DATABASE_URL", postgres_url)
    made = cli("keys", "create", "ci", "--json").json
    assert [line["key_id"] for line in cli("keys", "list", "--json").lines] == [made["key_id"]]
    assert not (ws / ".skill-fleet" / "service").exists()
