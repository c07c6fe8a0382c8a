"""What holds for every request to one provider: looked at before it goes out and when an answer begins."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from dspy import lm15
from dspy._vendor.lm15.transports import AsyncTransportResponse, TransportRequest, TransportResponse

from skill_fleet.llm.providers.routes import LONGEST_ATTEMPT, is_loopback, origin_of

OnHeaders = Callable[[Mapping[str, str]], None]

LARGEST_ANSWER = 64 * 2**20
"""Bytes of the longest answer that is read."""
CONNECTIONS = 512
"""Most connections at once: more than the 256 threads that a run may have."""
_CONNECT = 10.0


class Mender(Protocol):
    """What passes on the bytes of one answer, and may complete them."""

    def feed(self, data: bytes) -> bytes:
        """What can be passed on now."""
        ...

    def rest(self) -> bytes:
        """What is left at the end."""
        ...


class Unmended:
    """The bytes as they are."""

    def feed(self, data: bytes) -> bytes:
        """All of them."""
        return data

    def rest(self) -> bytes:
        """Nothing."""
        return b""


class Rules:
    """What holds for every request to one provider.

    Args:
        address: Where it answers; everything else of the same origin may be asked too.
        seconds: For one attempt, from the beginning of the request to the last byte of the answer.
        on_headers: Told the headers of every response, names in lower case.
        login: Sent in place of a key, where the address asks for a user name and a password.
        mender: Makes what passes on the bytes of one answer.
    """

    def __init__(
        self,
        address: str,
        seconds: float,
        on_headers: OnHeaders | None = None,
        login: str | None = None,
        mender: Callable[[], Mender] = Unmended,
    ) -> None:
        self.origin = origin_of(address)
        self.direct = is_loopback(address)
        self.seconds = min(seconds, LONGEST_ATTEMPT)
        self._on_headers = on_headers
        self._login = login
        self.mender = mender

    def options(self) -> dict[str, Any]:
        """How a transport of DSPy's client is made."""
        return {
            "connect_timeout": min(_CONNECT, self.seconds),
            "read_timeout": self.seconds,
            "write_timeout": self.seconds,
            "pool_timeout": self.seconds,
            "max_connections": CONNECTIONS,
            "user_agent": "skill-fleet",
            "trust_env": not self.direct,
        }

    def outgoing(self, request: TransportRequest) -> TransportRequest:
        """The request as it may be sent.

        Raises:
            dspy.lm15.ConfigurationError: It would go to another origin.
        """
        if origin_of(request.url) != self.origin:
            raise lm15.ConfigurationError(
                f"A request to {_shown(origin_of(request.url))} was refused: the configured address is "
                f"{_shown(self.origin)}."
            )
        if self._login is not None:
            kept = [pair for pair in request.headers if pair[0].lower() != "authorization"]
            request.headers = [*kept, ("Authorization", self._login)]
        return request

    def incoming(self, response: TransportResponse | AsyncTransportResponse) -> None:
        """Look at the head of a response.

        Raises:
            dspy.lm15.ConfigurationError: It sends us elsewhere.
        """
        if self._on_headers is not None:
            self._on_headers({name.lower(): value for name, value in response.headers})
        if 300 <= response.status < 400:
            raise lm15.ConfigurationError(
                f"{_shown(self.origin)} answered with a redirect (HTTP {response.status}), which is not "
                "followed: api_base must name the address that answers itself.",
                status=response.status,
            )

    def grown(self, size: int) -> None:
        """An answer has so many bytes.

        Raises:
            dspy.lm15.ProviderError: More than any answer has.
        """
        if size > LARGEST_ANSWER:
            raise lm15.ProviderError(f"The answer is longer than {LARGEST_ANSWER // 2**20} MB.")

    def late(self) -> lm15.TimeoutError:
        """That the attempt's time is over; the provider may have done the work, and billed it."""
        return lm15.TimeoutError(f"No complete answer within {self.seconds:g} s (the model's timeout).")


def _shown(origin: tuple[str, str, int]) -> str:
    scheme, host, port = origin
    return f"{scheme}://{host}:{port}"
