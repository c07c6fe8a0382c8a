"""Problem documents (RFC 9457) of the server as the errors that the same mistake raises on this machine."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx2

from skill_fleet.foundation.errors import (
    BudgetExhausted,
    NotFound,
    ProviderError,
    SkillFleetError,
    StateConflict,
    UnknownName,
    UsageError,
)

OTHER_SERVER = "other_server"
"""Code of the error where whoever answers is no skill-fleet server, or something stands before it."""
_ADDRESS = "The address is that of the server alone, such as http://127.0.0.1:8000."
AWAY = "server_away"
"""Code of the error where the server does not answer."""
RETRYABLE = frozenset({408, 429, 502, 503, 504})

_NO_ROUTE = "no_route"
_NUMBER = re.compile(r"^\[Errno -?\d+\] ")
_BY_STATUS: dict[int, type[SkillFleetError]] = {
    401: ProviderError,
    403: ProviderError,
    404: NotFound,
    409: StateConflict,
    410: NotFound,
    429: ProviderError,
}
_BY_CODE: dict[str, type[SkillFleetError]] = {"key_budget": BudgetExhausted}


def error_of(response: httpx2.Response, url: str) -> SkillFleetError:
    """The error that an answer other than 2xx stands for.

    Args:
        response: The answer.
        url: The server's address.
    """
    value, status = _document(response), response.status_code
    code, said = value.get("code"), value.get("detail") or value.get("title")
    if not isinstance(code, str) or not said:
        return _not_ours(url, status)
    if code == _NO_ROUTE:
        return ProviderError(f"The server {url} knows no such call.", hint=_ADDRESS, code=_NO_ROUTE)
    hint, family = str(value.get("hint") or ""), str(value.get("family") or "")
    return error_from(code, str(said), hint, family=family, status=status)


def unreadable(url: str, what: str) -> ProviderError:
    """The server's answer is not what a skill-fleet server says.

    Args:
        url: The server's address.
        what: What is wrong with it, after "The answer of the server URL ".
    """
    return ProviderError(f"The answer of the server {url} {what}.", hint=_ADDRESS, code="unreadable_answer")


def error_from(
    code: str, message: str, hint: str = "", *, family: str = "", status: int = 500
) -> SkillFleetError:
    """An error by its code: of the class that has it on this machine, so that its exit code is the same.

    Args:
        code: Stable machine-readable name.
        message: One sentence.
        hint: What to do about it.
        family: The code of its class, where its own is a finer one.
        status: Of the answer, where neither is known.
    """
    classes = _classes()
    kind = _BY_CODE.get(code) or classes.get(code) or classes.get(family) or _of_status(status)
    if kind is UnknownName:  # which is made of the name and those there are
        kind = UsageError
    return kind(message, hint=hint, code=code)


def no_answer(url: str, error: httpx2.TransportError) -> ProviderError:
    """The server does not answer."""
    why = "it takes too long"
    if not isinstance(error, httpx2.TimeoutException):
        why = _NUMBER.sub("", str(error)).rstrip(".") or type(error).__name__
    said = why[:1].lower() + why[1:]
    return ProviderError(
        f"The server {url} does not answer: {said}.",
        hint="Is it running (skill-fleet serve), and is this its address?",
        code=AWAY,
    )


def _not_ours(url: str, status: int) -> ProviderError:
    if status in RETRYABLE:  # of something that stands before it
        said = f"The server {url} cannot answer now ({status})."
        return ProviderError(said, hint="Is skill-fleet serve running behind it?", code=OTHER_SERVER)
    return ProviderError(
        f"The server {url} is no skill-fleet server: it answered {status}.", hint=_ADDRESS, code=OTHER_SERVER
    )


def _document(response: httpx2.Response) -> dict[str, Any]:
    try:
        value = json.loads(response.content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _of_status(status: int) -> type[SkillFleetError]:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status in RETRYABLE:
        return ProviderError
    return UsageError if 400 <= status < 500 else SkillFleetError


def _classes() -> dict[str, type[SkillFleetError]]:
    own = SkillFleetError.__module__  # those of plugins and of other floors may be made differently
    return {kind.code: kind for kind in _tree(SkillFleetError) if kind.__module__ == own}


def _tree(kind: type[SkillFleetError]) -> Iterator[type[SkillFleetError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)
