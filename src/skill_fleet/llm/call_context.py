"""What a model call is part of, carried from the LM down to the engine.

DSPy strips `rollout_id` from the request before an engine sees it, and makes `n=` completions by `n` equal
requests. Both must be told apart in the journal and by a deterministic model, so `FleetLM` puts them here.
"""

import contextvars
from dataclasses import dataclass, field


@dataclass
class CallContext:
    """One call of an LM, of which the engine may see several requests.

    Attributes:
        phase: `profiling`, `optimization`, `evaluation` or `judge`.
        rollout: The caller's rollout id, or None.
        candidate: How many requests of this call were answered so far: the index of the next one.
        answers: Their keys and stored answers, in order.
    """

    phase: str
    rollout: int | None = None
    candidate: int = 0
    answers: list[tuple[str, str]] = field(default_factory=list)


class Calling:
    """`with Calling(call):` makes it the current call of this thread or task."""

    __slots__ = ("_call", "_token")

    def __init__(self, call: CallContext) -> None:
        self._call = call

    def __enter__(self) -> CallContext:
        self._token = CURRENT_CALL.set(self._call)
        return self._call

    def __exit__(self, *_: object) -> None:
        CURRENT_CALL.reset(self._token)


CURRENT_SUBJECT: contextvars.ContextVar[tuple[str, str] | None] = contextvars.ContextVar(
    "current_subject", default=None
)
"""What the calls of this thread or task are made for: the id of an example, and whose mark it is."""


class MadeFor:
    """`with MadeFor(item):` the calls of this thread or task are made for an example."""

    __slots__ = ("_item", "_token")

    def __init__(self, item: str | None) -> None:
        self._item = item

    def __enter__(self) -> None:
        self._token = CURRENT_SUBJECT.set(None if self._item is None else (self._item, ""))

    def __exit__(self, *_: object) -> None:
        CURRENT_SUBJECT.reset(self._token)


def current_subject() -> str | None:
    """The example that the calls of this thread or task are made for, as far as it is known."""
    subject = CURRENT_SUBJECT.get()
    return None if subject is None else subject[0]


CURRENT_CALL: contextvars.ContextVar[CallContext | None] = contextvars.ContextVar(
    "current_call", default=None
)


def current_call() -> CallContext:
    """The call being made in this thread or task; a fresh one of phase `evaluation` outside of any."""
    call = CURRENT_CALL.get()
    return CallContext("evaluation") if call is None else call
