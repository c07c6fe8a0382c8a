"""Measuring a program: our own runner, because DSPy's turns failures into zeros.

Also unlike `dspy.Evaluate`: a slow call is not sent a second time, results do not depend on the number of
threads, and a `Halt` is raised only when no call is in flight any more.
"""

import contextvars
import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any

from skill_fleet.evaluation.attempt import Attempt, attempt
from skill_fleet.evaluation.course import Course
from skill_fleet.evaluation.measurement import Measurement, Outcome, identity_of, paired
from skill_fleet.evaluation.progress_bars import steady_progress_bars
from skill_fleet.evaluation.score import Metric, NoScore, Score
from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.foundation.errors import (
    DataError,
    MetricError,
    ProgramError,
    ProviderError,
    SkillFleetError,
    UsageError,
)
from skill_fleet.llm.failures import advice
from skill_fleet.llm.halt import Halt

__all__ = ["Measurement", "Outcome", "measure", "paired"]

OnOutcome = Callable[[int, int, Outcome], None]
Timed = tuple[Attempt, float]
Futures = list[Future[tuple[int, Timed] | None]]


def measure(
    program: Any,
    examples: Sequence[Any],
    metric: Metric,
    *,
    lm: Any,
    num_threads: int,
    on_outcome: OnOutcome | None = None,
    max_failed_share: float = 0.5,
    clock: Clock = SYSTEM_CLOCK,
) -> Measurement:
    """Run a program on examples and score each.

    Args:
        program: A `dspy.Module`; shared by the threads.
        examples: With inputs set; `id` and `group` are read where they are there. Without an id an example is
            `item-0001` and so on, without a group it is its own group.
        metric: Scores each prediction, in the same threads and with the same model as default.
        lm: The model; its failures must be raised, not made into answers.
        num_threads: Examples under way at a time.
        on_outcome: Called in the caller's thread as (done, total, outcome), in order of completion.
        max_failed_share: Above this share of examples without a score, or with a program that raises, the
            measurement says nothing and is given up, as soon as that is clear (see `Course`).
        clock: For durations.

    Raises:
        Halt: A call was refused for good; the calls in flight have ended.
        ProviderError: Too many examples failed, most of them because of the model.
        ProgramError: Too many examples failed, most of them because the program raised.
        MetricError: Too many examples failed, most of them because the metric broke.
        DataError: Two examples have the same id.
        UsageError: There is no thread to work with.
    """
    if num_threads < 1:
        raise UsageError(f"num_threads is {num_threads}; it must be at least 1.")
    names = _names(examples)
    steady_progress_bars()
    course = Course(len(examples), max_failed_share, random.Random(0))

    def task() -> tuple[int, Timed] | None:
        index = course.take()
        if index is None:
            return None
        started = clock.monotonic()
        try:
            found = attempt(program, examples[index], metric, lm)
        except BaseException:
            course.stop()
            raise
        course.note(index, failed=_failure(found) is not None)
        return index, (found, clock.monotonic() - started)

    pool = ThreadPoolExecutor(max_workers=num_threads, thread_name_prefix="measure")
    futures: Futures = []
    try:
        futures += (pool.submit(contextvars.copy_context().run, task) for _ in examples)
        return _collect(futures, names, on_outcome, course)
    finally:
        course.stop()
        pool.shutdown(wait=True, cancel_futures=True)
        _raise_halt(futures)


def _collect(
    futures: Futures, names: list[tuple[str, str]], on_outcome: OnOutcome | None, course: Course
) -> Measurement:
    outcomes: dict[int, Outcome] = {}
    failures: dict[int, NoScore] = {}
    for future in as_completed(futures):
        ended = future.result()
        if ended is None:
            continue  # not begun: another future holds the Halt or the failure that was one too many
        index, timed = ended
        outcomes[index] = _outcome(*names[index], timed)
        failure = _failure(timed[0])
        if failure is not None:
            failures[index] = failure
        if on_outcome is not None:
            on_outcome(len(outcomes), len(names), outcomes[index])
    if course.given_up:
        ordered = [failures[index] for index in sorted(failures)]
        raise too_many_failed(ordered, len(outcomes), len(names))
    return Measurement(tuple(outcomes[index] for index in sorted(outcomes)))


def _names(examples: Sequence[Any]) -> list[tuple[str, str]]:
    """Id and group of each example."""
    names = []
    for number, example in enumerate(examples, start=1):
        known, group = identity_of(example)
        item = known or f"item-{number:04d}"
        names.append((item, group or item))
    twice = [item for item, count in Counter(item for item, _ in names).items() if count > 1]
    if twice:
        raise DataError(f"The id '{twice[0]}' is that of more than one example.", hint="Make ids unique.")
    return names


def _outcome(item: str, group: str, timed: Timed) -> Outcome:
    result, seconds, usage = timed[0].result, timed[1], timed[0].usage
    if isinstance(result, Score):
        return Outcome(item, group, result, None, seconds, usage)
    return Outcome(item, group, None, result, seconds, usage)


def _failure(found: Attempt) -> NoScore | None:
    """What counts against the measurement: missing data, and crashes although they score 0."""
    if isinstance(found.result, NoScore):
        return found.result
    return None if found.crash is None else NoScore("program", found.crash)


def too_many_failed(
    failures: Sequence[NoScore], tried: int, total: int, what: str = "examples"
) -> SkillFleetError:
    """The most frequent cause, as the user's error; of equally frequent ones that of the first example.

    Args:
        failures: In the order of the examples, one at least.
        tried: How many examples ended.
        total: How many there are.
        what: Which examples.
    """
    reason, count = Counter(failure.reason for failure in failures).most_common(1)[0]
    example = next(failure for failure in failures if failure.reason == reason)
    whole = f"{tried} {what}" if tried == total else f"the {tried} {what} tried (there are {total})"
    same = "" if count == len(failures) else f"{count} of them "
    message = f"{len(failures)} of {whole} failed, {same}like this: {example.message}"
    if reason == "metric_error":
        hint = "What scores gives every answer, also a wrong one, a number in [0, 1]."
        return MetricError(message, hint=hint)
    if reason in {"program", "environment"}:
        return ProgramError(message, hint="Run the program on one example to see the whole traceback.")
    return ProviderError(
        message,
        hint=advice(reason) or "Check the model, its key and its limits.",
        code=reason,
        attempts=example.attempts,
        finish_reason=example.finish_reason,
    )


def _raise_halt(futures: Futures) -> None:
    """A Halt of a task that ended while the others were waited for outranks what stopped the measurement."""
    for future in futures:
        if not future.cancelled():
            error = future.exception()
            if isinstance(error, Halt):
                raise error
