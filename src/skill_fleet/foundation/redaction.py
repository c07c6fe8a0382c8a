"""What others may read of a text: without the secrets it may have caught on its way."""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

_PLACEHOLDER = "[secret]"
_KEY = "[key]"
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|DATABASE_URL", re.IGNORECASE)
# Shorter values of variables that only sound secret (`1`, `true`) would tear holes into every sentence.
_SHORTEST_VALUE = 6
# A shorter secret is not looked for in base64: what is left of it there may be part of any word.
_SHORTEST_ENCODED = 8
# To the last `@` of the host: a password may have one in it, and works as a login then too.
_USERINFO = re.compile(r"(?<=://)[^/\s]*@")
# A parameter of an address whose name says that it is secret.
_PARAMETER = re.compile(
    r"(?i)([?&][^\s?&#=]{0,64}(?:(?:key|token|secret|passw)[^\s?&#=]{0,64}|sig)=)[^\s&#]+"
)
# An option whose value is a secret: the next argument, or what follows it after `=`.
_SECRET_OPTION = re.compile(r"(?i)--?(?:[\w-]*[-_])?(?:api-?key|key|token|secret|password)")
VENDORS = "sk|pk|rk|gsk|xai|hf|pplx|r8|nvapi|gh[pousr]"
"""How the keys of vendors begin, as a pattern; `-` or `_` follows."""
# What somebody chose has words and numbers in it, between `-` and `_`; a key has a piece that is neither.
_MIXED = r"(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z\d]"
_AT_RANDOM = rf"(?:{_MIXED}{{8,}}|\d{{12,}}|\*{{3}})"
_LONG_AT_RANDOM = rf"{_MIXED}{{16,}}"
# How keys look: with a vendor's prefix, after "Bearer", after "API key", or as one long mixed word.
_KEY_SHAPES = (
    re.compile(r"(?i)(\bbearer\s+)\S+"),
    re.compile(r"(?i)(\bapi[ _-]?key(?: provided)?\s*[:=]\s*[\"']?)[^\s\"',;]+"),
    re.compile(rf"()\b(?:{VENDORS})[-_](?=[\w*-]{{0,250}}?(?<![A-Za-z\d]){_AT_RANDOM})[\w*-]{{8,}}"),
    re.compile(r"()\bAIza[\w-]{16,}|\bAKIA[A-Z\d]{12,}"),
    # A digest in hex may be a key. That of a commit is shown: no vendor's keys are 40 digits of hex.
    re.compile(rf"()\b(?![\da-f]{{40}}\b)(?=\w*?(?<![A-Za-z\d]){_LONG_AT_RANDOM})\w{{32,}}\b"),
)


def without_secrets(text: str, secrets: Iterable[str], placeholder: str = _PLACEHOLDER) -> str:
    """A text without secrets, and of an address without its password.

    Each is found as it is, percent-encoded or decoded, and in base64, also within something longer, as the
    header of a login has it.
    """
    forms = {form for secret in secrets for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, placeholder)
    return text


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The values of variables whose names say that they are secret, and addresses with a password in them."""
    return tuple(
        value
        for name, value in environment.items()
        if len(value) >= _SHORTEST_VALUE and (_SECRET_NAME.search(name) or _has_password(value))
    )


def without_keys(text: str) -> str:
    """A text without whatever looks like a key, and without the passwords of addresses."""
    for shape in _KEY_SHAPES:
        text = shape.sub(r"\1[key]", text)
    return _open(text)


def without_password(value: Any) -> Any:
    """A value as it may be shown: an address without the password in it, or a key among its parameters."""
    return _open(value) if isinstance(value, str) else value


def arguments_without_keys(command: Sequence[str]) -> list[str]:
    """The arguments of a command as they may be shown: without keys, nor what an option for one is given."""
    shown = []
    before = ""
    for argument in command:
        option, given, _ = argument.partition("=")
        if _SECRET_OPTION.fullmatch(before) and not argument.startswith("-"):
            shown.append(_KEY)
        elif given and _SECRET_OPTION.fullmatch(option):
            shown.append(f"{option}={_KEY}")
        else:
            shown.append(without_keys(argument))
        before = argument
    return shown


def _open(text: str) -> str:
    return _PARAMETER.sub(rf"\1{_KEY}", _USERINFO.sub(f"{_KEY}@", text))


def _forms(secret: str) -> Iterator[str]:
    for plain in (secret, *_passwords(secret)):
        for form in {plain, unquote(plain)}:
            if form:
                yield from (form, quote(form), quote(form, safe=""), quote_plus(form))
                yield from _encoded(form.encode())


def _encoded(secret: bytes) -> Iterator[str]:
    """What base64 makes of it, wherever it begins in a longer text.

    The characters at both ends that depend on what stands beside it are left off.
    """
    if len(secret) < _SHORTEST_ENCODED:
        return
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + secret)
        inside = whole[-(-before * 8 // 6) : (before + len(secret)) * 8 // 6].decode()
        yield inside
        yield inside.translate(str.maketrans("+/", "-_"))


def _has_password(value: str) -> bool:
    """Whether it is an address, as of a proxy, with a password long enough to be looked for."""
    return any(len(password) >= _SHORTEST_VALUE for password in _passwords(value))


def _passwords(address: str) -> Iterator[str]:
    try:
        parts = urlsplit(address)
        yield parts.password or ""
        yield from (value for name, value in parse_qsl(parts.query) if name == "password")
    except ValueError:
        return  # no address
