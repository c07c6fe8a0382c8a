"""The guard: prefetch leans on names of DSPy that are not its interface, so it looks before it leans.

A ghost can never change a result, but with another DSPy it might make calls that the stock run does not make.
So it stays away unless DSPy's version is one that the contract tests (ghost = stock) were run with, and every
name that a script uses is there with the parameters it had.
"""

import functools
import importlib
import inspect
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import dspy

CHECKED = ("3.4.1",)
"""Versions of DSPy that the contract tests passed with."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Name:
    """A callable of another package that a script relies on.

    Attributes:
        place: `package.module:Class.method`.
        parameters: Its parameters, in order, without `self`.
    """

    place: str
    parameters: tuple[str, ...]

    def problem(self) -> str | None:
        """What is different from what was checked; None when nothing is."""
        module, _, path = self.place.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for part in path.split("."):
                found = getattr(found, part)
            known = tuple(name for name in inspect.signature(found).parameters if name != "self")
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            return f"{self.place} cannot be used ({error})"
        return None if known == self.parameters else f"{self.place} takes {', '.join(known)}"


@functools.cache
def usable(names: tuple[Name, ...]) -> bool:
    """Whether a script that relies on these names may run; the reason why not is logged, once."""
    problem = _problem(names)
    if problem is not None:
        _logger.warning("No prefetch, the optimizer runs as DSPy has it: %s.", problem)
    return problem is None


def _problem(names: Iterable[Name]) -> str | None:
    if dspy.__version__ not in CHECKED:
        return f"DSPy is {dspy.__version__}, it was checked with {', '.join(CHECKED)}"
    return next((problem for name in names if (problem := name.problem()) is not None), None)
