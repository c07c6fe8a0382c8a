"""Who gives a score to a failure: seen where scores are given, whatever the run says of itself."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import dspy
from dspy.teleprompt import simba

from skill_fleet.evaluation import runner
from skill_fleet.evaluation.score import Score


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """The scores that examples were given of which the program made nothing.

    In `dspy.Evaluate`, in the samples of SIMBA, which calls no `Evaluate`, and in our own measurements.
    """
    failed: list[str] = []
    logger = logging.getLogger("dspy")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with (
            _instead(dspy.Evaluate, "__call__", lambda real: _evaluating(real, failed)),
            _instead(simba, "wrap_program", lambda real: _sampling(real, failed)),
            _instead(runner, "attempt", lambda real: _measuring(real, failed)),
        ):
            yield failed
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _instead(owner: Any, name: str, made: Callable[[Any], Any]) -> Iterator[None]:
    real = getattr(owner, name)
    setattr(owner, name, made(real))
    try:
        yield
    finally:
        setattr(owner, name, real)


def _evaluating(real: Any, failed: list[str]) -> Any:
    def evaluate(self: Any, *args: Any, **options: Any) -> Any:
        found = real(self, *args, **options)
        failed.extend(f"Evaluate gave {score}" for _, made, score in found.results if not _fields(made))
        return found

    return evaluate


def _sampling(real: Any, failed: list[str]) -> Any:
    def wrap(program: Any, metric: Any) -> Any:
        sample = real(program, metric)

        def sampled(example: Any) -> Any:
            found = sample(example)
            if not _fields(found["prediction"]):
                failed.append(f"SIMBA gave {found['score']}")
            return found

        return sampled

    return wrap


def _measuring(real: Any, failed: list[str]) -> Any:
    def attempt(program: Any, example: Any, metric: Any, lm: Any) -> Any:
        made: list[Any] = []

        def noting(**inputs: Any) -> Any:
            made.append(program(**inputs))
            return made[0]

        found = real(noting, example, metric, lm)
        if isinstance(found.result, Score) and not (made and _fields(made[0])):
            failed.append(f"a measurement gave {found.result.value}")
        return found

    return attempt


def _fields(made: Any) -> list[str]:
    """What a program answered; a failure that was caught has nothing."""
    answer = made[0] if isinstance(made, tuple) else made  # GEPA has it with its trace
    return list(answer.keys()) if isinstance(answer, dspy.Prediction) else []
