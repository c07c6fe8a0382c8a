"""What an optimizer is given, and what can be seen of its work from outside."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback

from skill_fleet.config.settings import Phase
from skill_fleet.core.programs.catalog import clean_state
from skill_fleet.core.programs.recipes.recipe import members_of
from skill_fleet.evaluation.measurement import identity_of
from skill_fleet.evaluation.score import Metric
from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.errors import UnknownName
from skill_fleet.llm.call_context import MadeFor
from skill_fleet.llm.fleet_lm import FleetLM

OnRollout = Callable[[], None]


@dataclass(frozen=True)
class Effort:
    """How far to search, in the words of the request."""

    auto: str | None
    trials: int | None
    max_bootstrapped_demos: int | None
    max_labeled_demos: int
    num_threads: int


@dataclass(frozen=True)
class Search:
    """One round of one optimizer.

    Attributes:
        student: The program to improve; an optimizer leaves it as it is.
        train: Examples to learn from.
        validation: Examples to choose by.
        metric: Scores; higher is better.
        lms: One LM a phase.
        effort: How far to go.
        seed: Of the round.
        demo_threshold: Quality from which an own answer may serve as a demonstration.
        on_rollout: Told of every scored prediction.
        reward: `module:function` that judges an answer where no expected one is known, for optimizers that
            ask for one; else None.
    """

    student: dspy.Module
    train: Sequence[dspy.Example]
    validation: Sequence[dspy.Example]
    metric: Metric
    lms: Mapping[Phase, FleetLM]
    effort: Effort
    seed: int
    demo_threshold: float
    on_rollout: OnRollout
    reward: str | None = None

    def score(self, gold: Any, pred: Any, trace: Any = None) -> float:
        """The metric for optimizers that want a number."""
        self.on_rollout()
        with MadeFor(identity_of(gold)[0]):
            return float(self.metric.metric(gold, pred, trace))

    def score_with_feedback(
        self, gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None
    ) -> Any:
        """The metric for optimizers that learn from words: `Prediction(score, feedback)`."""
        if pred_name is None:
            self.on_rollout()
        with MadeFor(identity_of(gold)[0]):
            return self.metric.feedback(gold, pred, trace, pred_name, pred_trace)


class Tracker(BaseCallback):
    """Sees every program that an optimizer evaluates on the whole validation set.

    An optimizer that is stopped returns nothing; the best of what it saw is here.

    Args:
        validation: Ids of the validation examples.
    """

    def __init__(self, validation: Sequence[str | None]) -> None:
        self._ids = set(validation)
        self._lock = threading.Lock()
        self._open: dict[str, tuple[str, dict[str, Any]]] = {}
        self._seen: dict[str, tuple[float, int, dict[str, Any]]] = {}

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """An evaluation begins: keep the program's state if it is over the whole validation set."""
        examples = inputs.get("devset") or instance.devset
        program = inputs.get("program")
        if program is None or {identity_of(example)[0] for example in examples} != self._ids:
            return
        state = clean_state(program)
        with self._lock:
            self._open[call_id] = (digest(state), state)

    def on_evaluate_end(self, call_id: str, outputs: Any, exception: Exception | None = None) -> None:
        """An evaluation is over: keep its score."""
        with self._lock:
            opened = self._open.pop(call_id, None)
            if opened is None or exception is not None or outputs is None:
                return
            name, state = opened
            if name not in self._seen:
                self._seen[name] = (float(outputs.score) / 100.0, len(self._seen), state)

    def seen(self) -> list[dict[str, Any]]:
        """The states of all programs seen on the whole validation set, best first, the first of equals."""
        with self._lock:
            ranked = sorted(self._seen.values(), key=lambda seen: (-seen[0], seen[1]))
        return [state for _, _, state in ranked]

    def best(self) -> dict[str, Any] | None:
        """The state of the best of them."""
        return next(iter(self.seen()), None)


def uncompiled(program: dspy.Module) -> dspy.Module:
    """A copy that an optimizer accepts as a student: DSPy refuses, or hides, what is marked compiled."""
    copy = program.deepcopy()
    for _, module in copy.named_sub_modules():
        if getattr(module, "_compiled", False):
            module._compiled = False  # noqa: SLF001 - DSPy's own flag, set by its optimizers
    return copy


@contextmanager
def focused(program: dspy.Module, names: Sequence[str]) -> Iterator[dspy.Module]:
    """A copy of a program of which optimizers see only some predictors; all run.

    The copy is of a subclass with the same name and source (MIPROv2 reads the source) whose
    `named_parameters` leaves the others out. Copies made of it inherit that.

    Raises:
        UnknownName: The program has no such predictor.
    """
    if not names:
        yield uncompiled(program)
        return
    keep = resolve_predictors(program, names)
    original = type(program)

    def named_parameters(self: dspy.Module) -> list[tuple[str, Any]]:
        return [pair for pair in original.named_parameters(self) if pair[0] in keep]

    body = {
        "named_parameters": named_parameters,
        "__module__": original.__module__,
        "__qualname__": original.__qualname__,
        "__doc__": original.__doc__,
    }
    copy = uncompiled(program)
    copy.__class__ = type(original.__name__, (original,), body)
    yield copy


def unfocused(program: dspy.Module, original: type) -> dspy.Module:
    """A program, or a recipe of such programs, with all predictors visible again."""
    copy = program.deepcopy()
    for part in members_of(copy):
        if type(part) is not original and issubclass(type(part), original):
            part.__class__ = original
    return copy


def resolve_predictors(program: dspy.Module, names: Sequence[str]) -> set[str]:
    """Predictors by name; `plan` also stands for `plan.predict`.

    Raises:
        UnknownName: There is no such predictor.
    """
    known = [name for name, _ in program.named_predictors()]
    found: set[str] = set()
    for name in names:
        matches = {k for k in known if k == name or k.startswith(f"{name}.")}
        if not matches:
            raise UnknownName("predictor", name, known)
        found |= matches
    return found
