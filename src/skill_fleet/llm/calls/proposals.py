"""Calls of a search that are made for no example: proposals, and what becomes of those withheld for good.

An optimizer asks a model to write an instruction, or a summary to write it from. Such a call is of nobody's
answer, so a failure of it is no score, and a search can do without it: the optimizer is told by an exception,
as DSPy tells it. What was withheld once is not asked for again, by this process or by a later one.
"""

import threading
from collections.abc import Callable, Mapping

from dspy.utils.exceptions import LMError

from skill_fleet.foundation.errors import ProviderError

TOO_LONG = "context_window_exceeded"
"""Code of the failure of a prompt that is longer than the model takes."""

OnWithheld = Callable[[str, ProviderError, int, int], bool]
"""Told of a call withheld for the first time: its key, and why; how many were withheld in the search with it,
and how many were answered. It says whether the search can do without it.
"""


class Withheld(LMError):
    """A proposal fails for good: a filter withholds it, or its prompt is too long, or it is never whole.

    Args:
        error: The failure, as the user is told of it.
    """

    def __init__(self, error: ProviderError) -> None:
        super().__init__(error.message, code=error.code)
        self.error = error

    @property
    def too_long(self) -> bool:
        """Whether it was the prompt, of which a shorter one may do."""
        return self.code == TOO_LONG


class Proposals:
    """The proposals of one search. For threads and tasks.

    Args:
        known: What was withheld before, by key.
        on_withheld: See `OnWithheld`; called one at a time.
    """

    def __init__(self, known: Mapping[str, ProviderError], on_withheld: OnWithheld) -> None:
        self._known = dict(known)
        self._on_withheld = on_withheld
        self._met: dict[str, ProviderError] = {}
        self._answered: set[str] = set()
        self._lock = threading.Lock()

    @property
    def withheld(self) -> Mapping[str, ProviderError]:
        """What was withheld in this search, by key, in the order in which it was met."""
        with self._lock:
            return dict(self._met)

    @property
    def answered(self) -> int:
        """How many were answered."""
        return len(self._answered)

    def answers(self, key: str) -> None:
        """A call was answered, by the provider or by the journal."""
        self._answered.add(key)

    def recalled(self, key: str) -> Withheld | None:
        """What a call that was withheld before comes to, as an error to be raised."""
        with self._lock:
            error = self._known.get(key)
            if error is None:
                return None
            return self._meets(key, error)

    def withholds(self, key: str, error: ProviderError) -> Withheld | None:
        """A call has failed for good.

        Returns:
            What it comes to, as an error to be raised; None where the search cannot do without it.

        Raises:
            SkillFleetError: It cannot be written down, or may not.
        """
        with self._lock:
            found = self._meets(key, error)
            if key in self._known:
                return found
            if not self._on_withheld(key, error, len(self._met), self.answered):
                return None
            self._known[key] = error
            return found

    def _meets(self, key: str, error: ProviderError) -> Withheld:
        self._met.setdefault(key, error)
        return Withheld(error)


def withheld_in(error: BaseException) -> Withheld | None:
    """The withheld proposal that an error came from, by what led to it; None where it came from none."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        if isinstance(link, Withheld):
            return link
        seen.add(id(link))
        link = link.__cause__ or link.__context__
    return None
