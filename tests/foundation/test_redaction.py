"""Secrets are taken out of a text in every form they take in it."""

import base64
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.foundation.redaction import (
    arguments_without_keys,
    secrets_of,
    without_keys,
    without_password,
    without_secrets,
)

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


@pytest.mark.parametrize("login", ["me:word", "me:p@ssw0rd", "me@work:p@@ss", "me:a?b@c#d", "token"])
@pytest.mark.parametrize("around", ["{}", "cannot reach {}.", "{} (a/b@c)"])
def test_an_address_is_shown_without_its_password(login: str, around: str) -> None:
    text, left = (around.format(f"https://{who}@host/v1") for who in (login, "[key]"))
    assert without_password(text) == left
    assert without_keys(text) == left
    assert without_password("https://host/v1/@scope/name") == "https://host/v1/@scope/name"


def test_an_address_is_shown_as_it_is_where_nothing_in_it_is_secret() -> None:
    for text in ("https://host/v1?page=2&sort=name", "http://h/design?design=x", "see http://h, or a@b.c"):
        assert without_password(text) == text


@pytest.mark.parametrize("name", ["api_key", "key", "x-goog-api-key", "access_token", "sig", "Client-Secret"])
def test_a_key_among_the_parameters_of_an_address_is_not_shown(name: str) -> None:
    text = f"http://host/v1?page=2&{name}=abcdef&limit=3#top"
    assert without_password(f"http://h/?{name}=abc&sort=up#top") == f"http://h/?{name}=[key]&sort=up#top"
    for shown in (without_password(text), without_keys(text)):
        assert shown.startswith(f"http://host/v1?page=2&{name}=[key]")
    assert without_password(f"http://host/v1?{name}=abc") == f"http://host/v1?{name}=[key]"


@pytest.mark.parametrize("option", ["--api-key", "--token", "-key", "--openai_api_key", "--client-secret"])
def test_a_key_among_the_arguments_of_a_command_is_not_shown(option: str) -> None:
    command = ["ask", option, "mine", "--max-tokens", "100", "--key-file", "/a/b", "sk-" + "a1B2c3D4" * 4]
    shown = ["ask", option, "[key]", "--max-tokens", "100", "--key-file", "/a/b", "[key]"]
    assert arguments_without_keys(command) == shown
    assert arguments_without_keys([option]) == [option]
    assert arguments_without_keys([f"{option}=mine", "x"]) == [f"{option}=[key]", "x"]
    assert arguments_without_keys([f"{option}", "--verbose", "x"]) == [option, "--verbose", "x"]


def test_nothing_is_shown_without_a_password() -> None:
    assert without_password(None) is None


HARMLESS = [
    "PWD=/tmp/work/skill-fleet-4ckj5mab",
    "/var/skill-fleet-20261123-025703-703e2b/prompt",
    "task-20261123-025703-703e2b",
    "risk-based-2026-planning-of-desk-2",
    "sk-learn-2026-pipelines-by-week-12",
    "pk-tables-and-rk-indexes-v2",
    "skills/k8s-rollback-2/SKILL.md",
    "skfoobar12345",
    "hfile20261123",
    "gpt-4o-mini-2024-07-18 of claude-3-5-haiku-20241022",
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
    "test_the_rate_of_2_requests_is_kept_in_each_minute",
    "command/python3-my-model-of-2026",
    "job-01jd9x7q2m",
]
KEYS = [
    "sk-" + "a1B2c3D4" * 6,
    "sk-proj-" + "Zk8Qw3Rt5Yp1Xv7B" * 4,
    "sk-ant-api03-" + "aZ_9-kQ2mN8pR" * 7 + "-x7Bq2ZkAA",
    "sk-or-v1-" + "0a1b2c3d" * 8,
    "sk_live_51Habcdefgh12345678",
    "gsk_" + "Ab1Cd2Ef3Gh4" * 4,
    "hf_" + "AbCdEfGh1JkLmNoP",
    "xai-" + "Xy9Zw8Vu7" * 8,
    "pplx-" + "0f1e2d3c4b5a" * 4,
    "r8_" + "Qw3Er4Ty5Ui6" * 3,
    "nvapi-" + "aB3_dE6-gH9jK2mN5pQ8",
    "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a",
    "AIzaSyD4x8Lk2mN9pQ7rT5vW3yZ1bC6",
    "AKIAIOSFODNN7EXAMPLE",
    "0123456789abcdef0123456789abcdef",
    "0123456789abcdef" * 4,
]


@pytest.mark.parametrize("text", HARMLESS)
def test_names_that_people_and_programs_give_are_no_keys(text: str) -> None:
    assert without_keys(text) == text


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("around", ["{}", "/var/{}/x", "key={}", '"{}"', "refused: {}."])
def test_nothing_is_left_of_what_looks_like_a_key(key: str, around: str) -> None:
    assert without_keys(around.format(key)) == around.format("[key]")


def test_a_long_text_is_looked_through_in_no_time() -> None:
    began = time.process_time()
    for hard in ("sk-a1-", "a1_", "sk-", "a", "*", "-_1", "://", "?key", "?", "://a:b?key="):
        without_keys(hard * (20_000 // len(hard)))
    assert time.process_time() - began < 5
