"""Secrets are taken out of a text in every form they take in it."""

import base64
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.foundation.redaction import secrets_of, without_password, without_secrets

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
        "HTTPS_PROXY": "http://me:pr0xy-word@proxy.example:3128",
        "NO_PROXY": "127.0.0.1",
        "SHORT": "http://me:x@h",
    }
    proxy = environment["HTTPS_PROXY"]
    assert set(secrets_of(environment)) == {ADDRESS, "abc-123456", "tokens", proxy}


SECRETS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=12, max_size=60)
AROUND = st.text("!#?+/=& ~", max_size=20)


@given(SECRETS, AROUND, AROUND)
def test_nothing_of_it_is_left_in_any_form(secret: str, before: str, after: str) -> None:
    for form in (secret, quote(secret), quote(secret, safe=""), quote_plus(secret)):
        assert without_secrets(f"{before}{form}{after}", [secret]) == f"{before}[secret]{after}"
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(f"{before}{secret}{after}".encode()).decode()
        left = without_secrets(encoded, [secret])
        assert left.count("[secret]") == 1
        gone = len(encoded) - len(left) + len("[secret]")
        assert gone >= len(secret) * 8 / 6 - 2  # but for a character at each end that is half another's


def test_an_address_is_shown_without_its_password() -> None:
    assert without_password("https://me:word@host/v1") == "https://[key]@host/v1"
    assert without_password(None) is None
