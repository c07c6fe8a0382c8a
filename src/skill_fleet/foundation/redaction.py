"""What others may read of a text: without the secrets it may have caught on its way."""

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

_PLACEHOLDER = "[secret]"
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|DATABASE_URL", re.IGNORECASE)
# Shorter values of variables that only sound secret (`1`, `true`) would tear holes into every sentence.
_SHORTEST_VALUE = 6


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """A text without secrets: each as it is and percent-decoded, and of an address the password alone too."""
    forms = {form for secret in secrets for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, _PLACEHOLDER)
    return text


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The values of variables whose names say that they are secret."""
    return tuple(
        value
        for name, value in environment.items()
        if _SECRET_NAME.search(name) and len(value) >= _SHORTEST_VALUE
    )


def _forms(secret: str) -> Iterator[str]:
    for form in (secret, *_passwords(secret)):
        if form:
            yield form
            yield unquote(form)


def _passwords(address: str) -> Iterator[str]:
    try:
        parts = urlsplit(address)
        yield parts.password or ""
        yield from (value for name, value in parse_qsl(parts.query) if name == "password")
    except ValueError:
        return  # no address
