"""What a run has found out about a model: whether it answers at all, in what way, and at what length.

A wrong key, a model that is not there or a prompt that is too long fails every call alike. So the first call
to a model goes alone, whatever the number of threads, and the others follow when it has come to something: a
mistake of the configuration costs one request. What a provider refuses before it has answered anything is
taken for such a mistake; later, for one of that request.
"""

import threading
from collections.abc import Callable

from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.llm.calls.way import Way
from skill_fleet.llm.limits.waiting import TaskWaiter

# How often one who waits looks by himself, in seconds; he is woken too.
_GLANCE = 0.2
# Tokens of an answer of which nothing is known, where no longest answer is set.
_SOME_TOKENS = 500


class Acquaintance:
    """One model, as the calls of a run have come to know it. For threads and tasks.

    Attributes:
        met: Whether a call has come to something, so that others may go.
        answered: Whether it has ever answered this run, in an earlier process too: it takes such requests.
        reached: Whether it has answered this process: somebody is at its address now.
        way: How it is asked.
    """

    def __init__(self) -> None:
        self.met = False
        self.answered = self.reached = False
        self.way = Way()
        self._scout: int | None = None  # the thread of the call that goes ahead
        self._answers = 0
        self._tokens = 0
        self._tasks: set[TaskWaiter] = set()
        self._changed = threading.Condition()

    def ahead(self, stop: Callable[[], bool]) -> bool:
        """Whether this call is the one that goes ahead; waits while another is.

        Args:
            stop: Whether waiting has no use any more.

        Returns:
            True: it is, and must come `back`.
        """
        if self.met:
            return False
        with self._changed:
            # A task of this very thread may be ahead, and cannot go on while we wait for it.
            while not self.met and self._scout not in {None, threading.get_ident()} and not stop():
                self._changed.wait(_GLANCE)
            return self._takes_the_lead()

    async def awaited_ahead(self, stop: Callable[[], bool]) -> bool:
        """The same, awaited."""
        if self.met:
            return False
        waiter = TaskWaiter()
        with self._changed:
            self._tasks.add(waiter)
        try:
            while not (leads := self._takes_the_lead()) and not self.met and not stop():
                await waiter.wait(SYSTEM_CLOCK, _GLANCE, timed=False)
            return leads
        finally:
            with self._changed:
                self._tasks.discard(waiter)

    def _takes_the_lead(self) -> bool:
        with self._changed:
            if self.met or self._scout is not None:
                return False
            self._scout = threading.get_ident()
            return True

    def back(self, *, met: bool) -> None:
        """The call that went ahead is over.

        Args:
            met: Whether others may go now; if not, the next one goes alone again.
        """
        with self._changed:
            self._scout = None
            self.met = self.met or met
            self._changed.notify_all()
            for task in self._tasks:
                task.wake()

    def answers(self, tokens: int | None = None) -> None:
        """It answered, with so many tokens where that is known."""
        self.answered = self.reached = True
        with self._changed:
            if tokens is not None:
                self._answers += 1
                self._tokens += tokens

    def expected(self, longest: int | None) -> int:
        """Tokens an answer will have: as the answers so far, and never above the longest allowed."""
        answers, tokens = self._answers, self._tokens
        expected = tokens // answers if answers else _SOME_TOKENS
        return expected if longest is None else min(expected, longest)
