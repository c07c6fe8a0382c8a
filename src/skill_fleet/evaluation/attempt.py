"""One program on one example: a score, or missing data. The line between the two is drawn here.

Missing data is what says nothing of the program: a model call that failed, also where the program or its
metric went on without it; an answer that was cut off, filtered or empty; a file or connection that broke; a
metric that broke. The program's own fault is an answer
that is whole and yet cannot be parsed, and an exception of its code: both score 0, because leaving them out
would make a program better for failing on what is hard. (A bug that meets most examples is no property of the
examples; the runner stops on it.)
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError, LMError

from skill_fleet.evaluation.failed_calls import FailedCalls
from skill_fleet.evaluation.score import Metric, NoScore, Score
from skill_fleet.evaluation.usage import AnswerUsage, UsageMeter
from skill_fleet.foundation.errors import MetricError, ProgramError, ProviderError
from skill_fleet.llm.failures import explained, understand
from skill_fleet.llm.fleet_lm import FleetLM
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.only_journaled import OnlyJournaled

CUT_OFF = {"length": "truncated", "content_filter": "content_filter"}
UNUSABLE = frozenset({"truncated", "content_filter", "empty"})


@dataclass(frozen=True)
class Attempt:
    """What came of one example.

    Attributes:
        result: The score, or why there is none.
        crash: The exception of the program's own code, in words; None when there was none.
        usage: What the program's calls took, the metric's left out; None when the program did not answer.
    """

    result: Score | NoScore
    crash: str | None = None
    usage: AnswerUsage | None = None


def attempt(program: Any, example: Any, metric: Metric, lm: Any) -> Attempt:
    """Run the program on the example's inputs and score what it returns.

    Raises:
        Halt: No further call may be made, or the program would end the process.
    """
    # DSPy records every answer with the modules being called, in whatever thread, and keeps finish reasons
    # nowhere else: this one is called all along.
    answers = SimpleNamespace(history=[])
    meter, failed = UsageMeter(), FailedCalls()
    callbacks = [*(dspy.settings.callbacks or ()), failed]
    with dspy.context(lm=lm, trace=[], caller_modules=[answers], usage_tracker=meter, callbacks=callbacks):
        try:
            guard = [own_model_refused(lm)] if isinstance(lm, FleetLM) else []
            with dspy.context(callbacks=[*callbacks, *guard]):
                prediction = program(**example.inputs())
        except Exception as error:  # noqa: BLE001 - the program is the user's code: what it raises is a result
            missing = _missing(answers.history, failed)
            return _failed(error) if missing is None else Attempt(missing)
        except (Halt, KeyboardInterrupt):
            raise
        except BaseException as left:
            raise ended_by(left) from left
        usage = meter.taken()
        missing = _missing(answers.history, failed)
        if missing is not None:
            return Attempt(missing, usage=usage)
        if prediction is None:
            return _nothing_returned()
        result = _scored(metric, example, prediction)
        missing = _missing(answers.history, failed)  # a judge's calls, too
        return Attempt(missing or result, usage=usage)


def _missing(history: list[Any], failed: FailedCalls) -> NoScore | None:
    """Why there can be no score, whatever came out: an answer was cut off, or a call failed for good."""
    error = failed.first()
    return _cut_off(history) or (None if error is None else _provider_failed(error))


def _scored(metric: Metric, example: Any, prediction: Any) -> Score | NoScore:
    try:
        return metric.score(example, prediction)
    except MetricError as error:
        return NoScore("metric_error", error.message)
    except (LMError, ProviderError) as error:
        return _provider_failed(error)


def ended_by(left: BaseException) -> Halt:
    """What stops everything where a program raises what no `except Exception` sees, such as a SystemExit."""
    what = f"{type(left).__name__}({_short(str(left))})"
    return Halt(
        "program",
        ProgramError(
            f"The program raised {what}, which would end the process.",
            hint="Raise an Exception instead: an example that fails is no reason to exit.",
        ),
    )


def own_model_refused(lm: Any) -> OnlyJournaled:
    """A callback under which a program may call no model but the one it is given."""
    return OnlyJournaled(
        lm,
        "program",
        lambda model: ProgramError(
            f"The program calls a model of its own ({model}): no journal sees it and no cap holds.",
            hint="Let it use DSPy's default model: --model says which that is.",
        ),
    )


def _failed(error: Exception) -> Attempt:
    link = _told(error)
    if isinstance(link, (LMError, ProviderError)):
        return Attempt(_provider_failed(link))
    if isinstance(link, MetricError):  # the reward of a program that chooses among its answers
        return Attempt(NoScore("metric_error", link.message))
    if isinstance(link, AdapterParseError):
        return Attempt(_unparsed(link))
    broken = own_failure(error)
    if broken is not None:
        return Attempt(NoScore("environment", broken))
    crash = f"The program raised {_named(error)}."
    return Attempt(Score(0.0, feedback=crash), crash=crash)


def own_failure(error: BaseException) -> str | None:
    """Which file or connection of a program's own broke, in a sentence; None for all else that it raises."""
    if not isinstance(error, OSError) or _told(error) is not None:
        return None
    return f"The program met {_named(error)}."


def _told(error: BaseException) -> BaseException | None:
    """What an error comes from, where that is a call, an answer that cannot be parsed, or a reward."""
    known = (LMError, ProviderError, MetricError, AdapterParseError)
    return next((link for link in _chain(error) if isinstance(link, known)), None)


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {_short(str(error))}"


def _nothing_returned() -> Attempt:
    """A program without a `return` is a bug of the program, whatever the metric makes of a None."""
    crash = "The program returned None."
    return Attempt(Score(0.0, feedback=crash), crash=crash)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from or while handling, nearest first."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _provider_failed(error: Exception) -> NoScore:
    if not isinstance(error, ProviderError):
        error = explained(error, understand(error), getattr(error, "model", None) or "asked")
    reason = error.code if error.code in UNUSABLE else "provider"
    return NoScore(reason, error.message, error.attempts, error.finish_reason)


def _unparsed(error: AdapterParseError) -> Score | NoScore:
    if not (error.lm_response or "").strip() or error.lm_response == "None":
        return NoScore("empty", "The model sent an empty answer.")
    fields = ", ".join(f"'{name}'" for name in error.signature.output_fields)
    return Score(
        0.0,
        feedback=f"The answer could not be parsed: give exactly the fields {fields}, each in its own block. "
        f"The answer began: {_short(error.lm_response)}",
    )


def _cut_off(history: list[Any]) -> NoScore | None:
    for entry in history:
        response = entry.get("response")
        for one in (response, *(getattr(response, "choices", None) or ())):
            reason = CUT_OFF.get(getattr(one, "finish_reason", None) or "")
            if reason is not None:
                return NoScore(reason, f"The model {entry.get('model')} gave no whole answer ({reason}).")
    return None


def _short(text: str, limit: int = 200) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
