"""Whether the inside of DSPy's client is the one that our transport was proven with.

The names looked at are not public, and the transport replaces what is behind them: were one of them renamed,
a time-out after the request went out would be taken for one before, and the call for unbilled.
"""

import importlib.metadata
import inspect

from dspy._vendor.lm15.transports import (
    StdlibAsyncTransport,
    StdlibTransport,
    TransportResponse,
)

_OPEN = ("self", "parsed", "proxy", "origin", "connect_timeout")
_SEND = ("self", "conn", "request", "parsed", "proxy", "write_timeout")


def usable() -> bool:
    """Whether DSPy's client is one that our transport was proven with: `tests/llm/test_transport.py`."""
    version = importlib.metadata.version("dspy")
    known = _takes(StdlibTransport, "_open", _OPEN)
    known = known and _takes(StdlibAsyncTransport, "_send_request", _SEND)
    return known and _keeps_chunks() and version.startswith("3.4.")


def _takes(owner: type, name: str, parameters: tuple[str, ...]) -> bool:
    found = getattr(owner, name, None)
    return found is not None and tuple(inspect.signature(found).parameters) == parameters


def _keeps_chunks() -> bool:
    """Whether a response has the body it is given where it can be closed."""
    given = iter((b"",))
    try:
        response = TransportResponse(
            status=200, reason="", headers=[], http_version="", chunks=given, release=lambda _: None
        )
    except TypeError:
        return False
    return getattr(response, "_chunks", None) is given
