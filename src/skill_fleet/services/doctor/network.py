"""One question to a web server, by the standard library alone: bounded in time and size, never redirected."""

import http.client
import json
import ssl
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from skill_fleet.foundation.clock import Clock
from skill_fleet.llm.providers.routes import origin_of
from skill_fleet.services.proxies import proxy_for

_MOST_BYTES = 4_000_000


@dataclass(frozen=True)
class Question:
    """What is asked of a server.

    Attributes:
        url: The whole address.
        headers: The key among them: neither shown nor kept.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Reply:
    """What came of it.

    Attributes:
        status: Of HTTP; None where there was no answer.
        date: The `Date` header; None where there was none.
        value: The JSON value of the body; None where it is none.
        error: Why there was no answer.
    """

    status: int | None = None
    date: str | None = None
    value: Any = None
    error: Exception | None = None


class Questions:
    """Questions put to several servers at once, each in a thread that ends with the process at the latest.

    Args:
        questions: What is asked, by a name of the caller's.
        environ: For proxies.
        seconds: How long all of it may take.
        clock: For that.
    """

    def __init__(
        self, questions: Mapping[str, Question], environ: Mapping[str, str], seconds: float, clock: Clock
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._until = clock.monotonic() + seconds
        self._replies: dict[str, Reply] = {}
        self._names = tuple(questions)
        # Looking up a name cannot be broken off: such a thread may not hold up the end of the process.
        self._threads = [
            threading.Thread(target=self._ask, args=(name, one, environ), name=f"doctor-{name}", daemon=True)
            for name, one in questions.items()
        ]
        for thread in self._threads:
            thread.start()

    def replies(self) -> dict[str, Reply]:
        """The replies that have come in time; who is silent has `TimeoutError`."""
        for thread in self._threads:
            thread.join(max(0.0, self._until - self._clock.monotonic()))
        return {name: self._replies.get(name, Reply(error=TimeoutError())) for name in self._names}

    def _ask(self, name: str, question: Question, environ: Mapping[str, str]) -> None:
        self._replies[name] = asked(question, environ, self._seconds)


def asked(question: Question, environ: Mapping[str, str], seconds: float) -> Reply:
    """The reply to one question.

    Args:
        question: What is asked.
        environ: For proxies, which a loopback address is never asked through.
        seconds: For each step of it.
    """
    try:
        connection, target = _connection(question.url, environ, seconds)
        try:
            connection.request("GET", target, headers={"accept": "application/json", **question.headers})
            response = connection.getresponse()
            body = response.read(_MOST_BYTES)
            return Reply(response.status, response.headers.get("date"), _json(body))
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Reply(error=error)


def _connection(
    url: str, environ: Mapping[str, str], seconds: float
) -> tuple[http.client.HTTPConnection, str]:
    """A connection that is not yet open, and what to ask on it."""
    scheme, host, port = origin_of(url)
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    proxy = proxy_for(url, environ)
    if scheme == "http":
        if proxy is None:
            return http.client.HTTPConnection(host, port, timeout=seconds), target
        at, proxy_port, _ = proxy
        return http.client.HTTPConnection(at, proxy_port, timeout=seconds), url
    trusted = ssl.create_default_context()
    if proxy is None:
        return http.client.HTTPSConnection(host, port, timeout=seconds, context=trusted), target
    at, proxy_port, headers = proxy
    tunnel = http.client.HTTPSConnection(at, proxy_port, timeout=seconds, context=trusted)
    tunnel.set_tunnel(host, port, headers)
    return tunnel, target


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def names_in(value: Any) -> Sequence[str] | None:
    """The models in a provider's list: OpenAI's and Anthropic's `data`, Gemini's and Ollama's `models`.

    None of what is no such list.
    """
    found = (value.get("data") or value.get("models", value.get("data"))) if isinstance(value, dict) else None
    if not isinstance(found, list):
        return None
    named = [one.get("id") or one.get("name") for one in found if isinstance(one, dict)]
    return [name.removeprefix("models/") for name in named if isinstance(name, str)]
