"""Requests to the server: made again where that cannot do anything twice, refusals raised as errors."""

import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2

from skill_fleet import __version__
from skill_fleet.client.problems import RETRYABLE, error_of, no_answer, unreadable
from skill_fleet.foundation.addresses import is_loopback_address
from skill_fleet.foundation.clock import Clock
from skill_fleet.foundation.errors import SkillFleetError, UsageError

PREFIX = "/api/v2"
_TRIES = 4
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_CONNECT_SECONDS = 5.0


class Unready(Exception):
    """The server is there and cannot answer now.

    Args:
        error: What it says.
    """

    def __init__(self, error: SkillFleetError) -> None:
        super().__init__(error.message)
        self.error = error


class Calls:
    """The connections to one server. Safe between threads.

    Args:
        url: `http://HOST:PORT` or `https://HOST`, a path before `/api/v2` included where there is one; with
            `/api/v2` itself it means the same.
        key: Shown to the server; None shows none.
        timeout: Seconds that an answer may take.
        clock: For waiting between tries.
        plain_http: The key may go over http to another machine.
        transport: Instead of the network.

    Raises:
        UsageError: The address is none, the key is none, or the key would go over the network in the clear.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        timeout: float,
        clock: Clock,
        plain_http: bool = False,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/").removesuffix(PREFIX).rstrip("/")
        self.clock = clock
        local = _checked(self.url, key, plain_http=plain_http)
        headers = {"User-Agent": f"skill-fleet/{__version__}"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        self._http = httpx2.Client(
            headers=headers,
            timeout=httpx2.Timeout(timeout, connect=_CONNECT_SECONDS),
            trust_env=not local,  # no proxy stands between a machine and itself
            transport=transport,
        )
        self._jitter = random.Random(0)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON answer to a GET; parameters that are None are left out.

        Raises:
            SkillFleetError: As for `send`.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        return self.read_json(self.send("GET", path, parameters=given))

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        again: bool = True,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """The JSON answer to a POST.

        Raises:
            SkillFleetError: As for `send`.
            UsageError: The body holds what JSON has not.
        """
        return self.read_json(
            self.send("POST", path, body=body, again=again, headers=headers, timeout=timeout)
        )

    def send(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        again: bool = True,
        timeout: float | None = None,
    ) -> httpx2.Response:
        """A request and its answer, tried up to four times within about a second and a half.

        Args:
            method: Of the request.
            path: Below `/api/v2`.
            parameters: Of the query.
            body: Sent as JSON.
            headers: Further ones.
            again: The request may be made again although the server may have acted upon it.
            timeout: Instead of the usual one.

        Raises:
            ProviderError: The server does not answer.
            SkillFleetError: It refuses; the class is that of the same mistake on this machine.
        """
        request = self._request(method, path, parameters, body, headers, timeout)
        for attempt in range(_TRIES):
            last = attempt == _TRIES - 1
            try:
                response = self._http.send(request)
            except httpx2.TransportError as error:
                unsent = isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout))
                if last or not (again or unsent):
                    raise no_answer(self.url, error) from None
                pause = self.pause(attempt)
            else:
                if response.is_success:
                    return response
                wanted = _retry_after(response, self.pause(attempt))
                if last or not again or response.status_code not in RETRYABLE or wanted > _LONGEST_PAUSE:
                    raise error_of(response, self.url)
                pause = wanted
            self.clock.sleep(pause)
        raise AssertionError("unreachable")

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str], *, silence: float) -> Iterator[httpx2.Response]:
        """An answer that is read while it comes.

        Args:
            path: Below `/api/v2`.
            headers: Further ones.
            silence: Seconds after which a silent server is taken to be away.

        Raises:
            httpx2.TransportError: The connection broke.
            Unready: The server cannot answer now.
            SkillFleetError: The server refuses.
        """
        request = self._request("GET", path, None, None, headers, silence)
        response = self._http.send(request, stream=True)
        try:
            if not response.is_success:
                response.read()
                error = error_of(response, self.url)
                raise Unready(error) if response.status_code in RETRYABLE else error
            yield response
        finally:
            response.close()

    def read_json(self, response: httpx2.Response) -> Any:
        """The JSON value of an answer; None of an empty one.

        Raises:
            ProviderError: It is not JSON.
        """
        if not response.content:
            return None
        try:
            return json.loads(response.content)
        except ValueError:
            raise unreadable(self.url, "is not JSON") from None

    def pause(self, attempt: int) -> float:
        """Seconds to wait after a failed try, from 0: twice as long each time, a little by chance."""
        longest: float = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempt, 10))
        return longest * self._jitter.uniform(0.75, 1.0)

    def _request(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, Any] | None,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        timeout: float | None,
    ) -> httpx2.Request:
        sent = dict(headers or {})
        content = None if body is None else _json(body)
        if content is not None:
            sent["Content-Type"] = "application/json"
        limit: Any = httpx2.USE_CLIENT_DEFAULT
        if timeout is not None:
            limit = httpx2.Timeout(timeout, connect=_CONNECT_SECONDS)
        url = f"{self.url}{PREFIX}{path}"
        return self._http.build_request(
            method, url, params=dict(parameters or {}), content=content, headers=sent, timeout=limit
        )


def _json(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"The request cannot be sent: {error}.", code="body") from None


def _checked(url: str, key: str | None, *, plain_http: bool) -> bool:
    """Whether the server is on this machine; refuses what is no address, and a key in the clear."""
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, UnicodeError):
        parsed = httpx2.URL("")
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.query or parsed.userinfo:
        raise UsageError(
            "The server's address is not of the form http://HOST:PORT or https://HOST.",
            hint="A key goes into SKILL_FLEET_API_KEY, not into the address." if parsed.userinfo else "",
            code="server",
        )
    local = _is_loopback(parsed.host)
    if key is None:
        return local
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(
            "The key is not of the form sf_….", hint="skill-fleet keys create prints one.", code="key"
        )
    if parsed.scheme == "http" and not local and not plain_http:
        raise UsageError(
            f"The key would go to {parsed.host} in the clear, for everybody on the way to read.",
            hint="Use https, or a tunnel to this machine.",
            code="plain_http",
        )
    return local


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return is_loopback_address(host)
    except ValueError:
        return False


def _retry_after(response: httpx2.Response, default: float) -> float:
    said = response.headers.get("Retry-After", "")
    return max(float(said), default) if said.isdecimal() else default
