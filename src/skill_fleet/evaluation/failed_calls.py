"""The model calls of one attempt that failed for good, whatever the program made of their errors.

A program may catch the error of a call and answer something else, and so do modules of DSPy that run others
(`Parallel`, `BestOfN`, `Refine`). A score of that answer would tell how lucky the provider was that day.
"""

import threading
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback
from dspy.utils.exceptions import LMError

from skill_fleet.foundation.errors import ProviderError
from skill_fleet.llm.failures import understand


class FailedCalls(BaseCallback):
    """Hears how every call of a model ends, in whatever thread. One for each attempt.

    DSPy hands its settings, and with them their callbacks, to the threads of its modules and to tasks; so
    does `contextvars.copy_context` to a thread of the program's own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed: list[tuple[Any, Exception]] = []
        self._answered: list[Any] = []

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: ARG002
        """A call is over: retries lie behind it."""
        asker = (dspy.settings.caller_modules or [None])[-1]
        with self._lock:
            if isinstance(exception, (LMError, ProviderError)):
                self._failed.append((asker, exception))
            elif exception is None and not any(asker is one for one in self._answered):
                self._answered.append(asker)

    def first(self) -> Exception | None:
        """The first failure for which there is no score, or None.

        A request that is refused for what it is, such as one that is too long, is refused every time. Where
        the module that made it asked for something else and was answered, as `ReAct` does with a shorter
        trajectory, that is how the program answers, and it has its score.
        """
        with self._lock:
            for asker, error in self._failed:
                if not (_is_refusal(error) and any(asker is one for one in self._answered)):
                    return error
        return None


def _is_refusal(error: Exception) -> bool:
    if not isinstance(error, LMError):
        return False
    failure = understand(error)
    return failure.remedy == "give_up" and not failure.sent and failure.code != "content_filter"
