"""Secrets are taken out of a text in every form they take in it."""

import pytest

from skill_fleet.foundation.redaction import secrets_of, without_secrets

ADDRESS = "postgresql://me:p%40ssword@db.example/fleet"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"cannot open {ADDRESS}.", "cannot open [secret]."),
        ("password p@ssword is wrong", "password [secret] is wrong"),
        ("password p%40ssword is wrong", "password [secret] is wrong"),
        ("db.example does not answer", "db.example does not answer"),
    ],
)
def test_an_address_and_its_password(text: str, left: str) -> None:
    assert without_secrets(text, [ADDRESS]) == left


def test_a_secret_within_another_leaves_nothing_of_it() -> None:
    assert without_secrets("abcdef abc", ["abc", "abcdef"]) == "[secret] [secret]"
    assert without_secrets("nothing to hide", ["", "http://[no-address"]) == "nothing to hide"


def test_a_short_password_of_an_address_is_one_too() -> None:
    assert without_secrets("user me, password x1", ["postgresql://me:x1@h/d"]) == "user me, password [secret]"


def test_variables_are_secret_by_their_name_and_length() -> None:
    environment = {
        "SKILL_FLEET_DATABASE_URL": ADDRESS,
        "some_api_key": "abc-123456",
        "AWS_SESSION_TOKEN": "tokens",
        "KEYBOARD": "us",
        "PATH": "/usr/bin:/bin",
    }
    assert set(secrets_of(environment)) == {ADDRESS, "abc-123456", "tokens"}
