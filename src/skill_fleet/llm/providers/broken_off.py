"""Answers of which a server of OpenAI's protocol says itself that it broke them off.

OpenRouter gives what there is of an answer whose provider failed, with the reason `error`; vLLM ends a stream
with `abort` when its engine is stopped. DSPy's client takes every reason that it does not know for `stop`.
"""

import json
from dataclasses import replace
from typing import Any

from dspy.lm15 import Response

_REASONS = frozenset({"abort", "error"})
_MARKS = (b'"abort"', b'"error"')


def as_told(response: Response) -> Response:
    """A whole answer, with the reason it ended for: `error` where it was broken off."""
    return replace(response, finish_reason="error") if _broken(response.provider_data) else response


class StreamEnd:
    """A stream of events on its way, in pieces of any size: a reason that means no end is left out."""

    def __init__(self) -> None:
        self._partial: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """The whole lines that there are now."""
        whole, newline, rest = data.rpartition(b"\n")
        if not newline:
            self._partial.append(data)
            return b""
        lines = b"".join([*self._partial, whole]).split(b"\n")
        self._partial = [rest]
        return b"".join(self._line(line) + b"\n" for line in lines)

    def rest(self) -> bytes:
        """What is left at the end."""
        left, self._partial = b"".join(self._partial), []
        return self._line(left)

    def _line(self, line: bytes) -> bytes:
        if not line.startswith(b"data:") or not any(mark in line for mark in _MARKS):
            return line
        try:
            event = json.loads(line.removeprefix(b"data:"))
        except ValueError:
            return line
        if not _broken(event):
            return line
        event["choices"][0]["finish_reason"] = None
        return b"data: " + json.dumps(event).encode()


def _broken(document: Any) -> bool:
    choices = document.get("choices") if isinstance(document, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return isinstance(first, dict) and first.get("finish_reason") in _REASONS
