"""The input tokens of a streamed answer of Anthropic's, which begin the stream and are missing at its end.

Its first event counts the input, its last but one the output, and DSPy's client reads that one alone: a
streamed call would have no known cost. Here the last count gets what the first one said.
"""

import json
from typing import Any


class StreamUsage:
    """One stream of events on its way, in pieces of any size."""

    def __init__(self) -> None:
        self._begun: dict[str, Any] = {}
        self._partial = b""

    def feed(self, data: bytes) -> bytes:
        """The whole lines that there are now."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        return b"".join(self._line(line) + b"\n" for line in lines)

    def rest(self) -> bytes:
        """What is left at the end."""
        left, self._partial = self._partial, b""
        return self._line(left)

    def _line(self, line: bytes) -> bytes:
        if not line.startswith(b"data:") or b'"usage"' not in line:
            return line
        try:
            event = json.loads(line.removeprefix(b"data:"))
        except ValueError:
            return line
        if not isinstance(event, dict):
            return line
        if event.get("type") == "message_start" and isinstance(event.get("message"), dict):
            self._begun = _counts(event["message"])
        elif event.get("type") == "message_delta" and self._begun:
            return b"data: " + json.dumps({**event, "usage": {**self._begun, **_counts(event)}}).encode()
        return line


def _counts(holder: dict[str, Any]) -> dict[str, Any]:
    usage = holder.get("usage")
    return (
        {name: count for name, count in usage.items() if count is not None} if isinstance(usage, dict) else {}
    )
