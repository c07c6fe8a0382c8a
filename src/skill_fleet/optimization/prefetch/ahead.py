"""The way in: a search whose stock optimizer is preceded by ghosts."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import dspy

from skill_fleet.evaluation.judged import Judged
from skill_fleet.optimization.prefetch.ghosts import Ghosts
from skill_fleet.optimization.prefetch.guard import Name, usable
from skill_fleet.optimization.prefetch.turnstile import Turnstile, is_fleet
from skill_fleet.optimization.search import Search

Script = Callable[[Ghosts], None]
# They use tools, run code or search: that costs, or changes something, each time.
_ACTING = ("ReAct", "ReActV2", "CodeAct", "ProgramOfThought", "RLM", "Retrieve")


class Ahead:
    """One search and what runs ahead of it.

    Attributes:
        search: The search, with the models that stock run and ghosts share: give these to the optimizer.
    """

    def __init__(self, search: Search, ghosts: Ghosts | None, paid: threading.Event) -> None:
        self.search = search
        self._ghosts = ghosts
        self._paid = paid

    def start(self, script: Script) -> None:
        """Run a script in the background, from the first call that is paid for; nothing when prefetch is off.

        Args:
            script: Orders the calls that can be known early. It has copies of its own of all that the stock
                run changes. It may start other scripts.
        """
        ghosts = self._ghosts
        if ghosts is not None:
            ghosts.script(lambda: self._follow(script, ghosts))

    def score(self, gold: Any, pred: Any, trace: Any = None) -> float:
        """The metric for ghosts that must know whether an example succeeded: counted by nobody."""
        return float(self.search.metric.metric(gold, pred, trace))

    def _follow(self, script: Script, ghosts: Ghosts) -> None:
        self._paid.wait()
        if not ghosts.closed:
            script(ghosts)


@contextmanager
def running_ahead(search: Search, names: tuple[Name, ...]) -> Iterator[Ahead]:
    """A search with prefetch, where that is safe; with nothing but the search where it is not.

    Inside the block DSPy's default model is that of `evaluation`. When it is left no ghost runs any more.

    Args:
        search: What the optimizer was given.
        names: What the scripts rely on.
    """
    if not _possible(search) or not usable(names):
        yield Ahead(search, None, threading.Event())
        return
    paid = threading.Event()

    def on_pay() -> None:
        ghosts.paid()
        paid.set()

    lms = Turnstile(search.effort.num_threads, on_pay).bound(search.lms)
    metric = search.metric
    if isinstance(metric, Judged):
        metric = replace(metric, judge=lms["judge"])
    with dspy.context(lm=lms["evaluation"]):
        ghosts = Ghosts(search.effort.num_threads)
        try:
            yield Ahead(replace(search, lms=lms, metric=metric), ghosts, paid)
        finally:
            ghosts.stop()
            paid.set()
            ghosts.close()


def _possible(search: Search) -> bool:
    """Whether there is something to gain, and nothing is done that the journal does not keep."""
    if search.effort.num_threads < 2 or not all(is_fleet(lm) for lm in search.lms.values()):
        return False
    acting = tuple(getattr(dspy, name) for name in _ACTING if hasattr(dspy, name))
    modules = [search.student, *(module for _, module in search.student.named_sub_modules())]
    return not any(isinstance(module, acting) or getattr(module, "lm", None) for module in modules)
