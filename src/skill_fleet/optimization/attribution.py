"""Which example a thread's calls are made for, while a program runs on it."""

from collections.abc import Sequence
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback

from skill_fleet.evaluation.measurement import identity_of
from skill_fleet.llm.call_context import CURRENT_SUBJECT

UNKNOWN = ""
"""Of a program that runs on what is none of the examples: its calls are no proposals of the optimizer."""


class Attribution(BaseCallback):
    """Tells which example the calls of a thread are made for, while a program runs on it.

    Args:
        examples: Of the search; recognised by their inputs.
    """

    def __init__(self, examples: Sequence[dspy.Example]) -> None:
        self._ids = {_fingerprint(dict(example.inputs())): identity_of(example)[0] for example in examples}
        self._names = {frozenset(example.inputs().keys()) for example in examples}

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: ARG002
        """A program or a part of it begins: the outermost one is the program."""
        if CURRENT_SUBJECT.get() is None:
            asked = inputs.get("kwargs", {})
            item = self._ids.get(_fingerprint(asked))
            if item is None and frozenset(asked) in self._names:
                item = UNKNOWN
            if item is not None:
                CURRENT_SUBJECT.set((item, call_id))

    def on_module_end(self, call_id: str, outputs: Any, exception: Exception | None = None) -> None:  # noqa: ARG002
        """The outermost one is over."""
        subject = CURRENT_SUBJECT.get()
        if subject is not None and subject[1] == call_id:
            CURRENT_SUBJECT.set(None)


def _fingerprint(inputs: dict[str, Any]) -> str:
    return repr(sorted(inputs.items(), key=lambda pair: pair[0]))
