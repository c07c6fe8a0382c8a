"""DSPy's progress bars made safe in threads: one that is off must not fail an example.

DSPy empties tqdm's set of bars whenever it runs tasks in parallel. A bar that another thread is making at
that moment is gone from the set, and taking it out, which tqdm does at once with a bar that is switched off,
raises a KeyError. A program that uses `dspy.Parallel` would score 0 for it, now and then.
"""

from typing import Any
from weakref import WeakSet

import tqdm


class _Forgiving(WeakSet[Any]):
    """A set from which what is not in it may be removed."""

    def remove(self, item: Any) -> None:  # type: ignore[explicit-override]  # from 3.12 on in typing
        """Take it out, if it is there."""
        self.discard(item)


def steady_progress_bars() -> None:
    """Let bars be forgotten twice, for the whole process; nothing where tqdm keeps them otherwise.

    It replaces `tqdm.tqdm._instances`, a private name: the bars are made by DSPy, deep inside.
    """
    known = getattr(tqdm.tqdm, "_instances", None)
    if type(known) is WeakSet:
        tqdm.tqdm._instances = _Forgiving(known)  # noqa: SLF001
