"""Keys kept out of configuration files: what is written there is read by many, and committed."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from skill_fleet.foundation.errors import UsageError
from skill_fleet.foundation.redaction import VENDORS, secrets_of, without_keys, without_password

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY_SHAPE = re.compile(rf"\b(?:(?:{VENDORS})[-_]|AIza|AKIA)(?=[\w-]*\d)[\w-]{{12,}}")
_SECRET_PARAMETER = re.compile(r"key|token|secret|password|sig", re.IGNORECASE)
# Shorter values of variables whose names sound secret are words such as `none` or `openai`.
_SHORTEST_SECRET = 8
_LONGEST_WORD = 31
_SHORTEST_RANDOM = 16
_NOT_SHOWN = "what was given is not shown"


def refuse_secrets(entry: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Refuse the entry of a model that holds a key, a password, or something that looks like one.

    Raises:
        UsageError: One does; the sentence does not repeat it.
    """
    secrets = [secret for secret in secrets_of(environ) if len(secret) >= _SHORTEST_SECRET]
    variables = [entry["api_key_env"]] if entry.get("api_key_env") else []
    for option, names in (("--api-key-env", variables), ("--command-env", entry.get("command_env") or ())):
        for name in names:
            _check_variable(option, name, secrets, environ)
    _check_address(entry.get("api_base"))
    for key, value in entry.items():
        for text in (value,) if isinstance(value, str) else value if isinstance(value, (list, tuple)) else ():
            if _KEY_SHAPE.search(text) or _like_a_key(text) or any(secret in text for secret in secrets):
                raise UsageError(
                    f"What is given as {key} holds something that looks like a key ({_NOT_SHOWN}).",
                    hint="Keys come from environment variables only: --api-key-env NAME, --command-env NAME.",
                )


def _like_a_key(text: str) -> bool:
    """Whether some of it would not be shown elsewhere, but for the password of an address."""
    return bool(without_keys(text) != without_password(text))


def _check_variable(option: str, name: str, secrets: list[str], environ: Mapping[str, str]) -> None:
    if name in environ and name not in secrets:
        return
    if not _VARIABLE.fullmatch(name) or name in secrets or _random(name):
        raise UsageError(
            f"{option} takes the name of an environment variable, and this looks like a key ({_NOT_SHOWN}).",
            hint=f"export MY_KEY=… and then: {option} MY_KEY",
        )


def _random(name: str) -> bool:
    """Whether a text that could be a variable's name is rather a key: long, with digits, of no usual case."""
    if not any(character.isdigit() for character in name):
        return len(name) > _LONGEST_WORD and not name.isupper()
    words_apart = name.isupper() and "_" in name
    return _KEY_SHAPE.search(name) is not None or (len(name) >= _SHORTEST_RANDOM and not words_apart)


def _check_address(address: str | None) -> None:
    try:
        parts = urlsplit(address or "")
        parameters = [name for name, _ in parse_qsl(parts.query)]
    except ValueError:
        return  # no address; that is said where addresses are checked
    if parts.password is not None or parts.username is not None:
        raise UsageError(
            f"The address given as --api-base has a user or password in it ({_NOT_SHOWN}).",
            hint="The file is no place for it: leave it out, and name a variable with --api-key-env.",
        )
    if any(_SECRET_PARAMETER.search(name) for name in parameters):
        raise UsageError(
            f"The address given as --api-base has a key among its parameters ({_NOT_SHOWN}).",
            hint="Leave it out, and name a variable with --api-key-env.",
        )
