"""Searches of one optimizer, in workspaces of their own: journal, budget and tracker are the real ones."""

import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dspy
from dspy.lm15 import Request, Response

from skill_fleet.config.load import load
from skill_fleet.config.settings import ModelSpec, Phase
from skill_fleet.core.programs.catalog import clean_state, program_hash
from skill_fleet.core.programs.recipes.rebuild import with_state
from skill_fleet.evaluation.judged import Judged
from skill_fleet.evaluation.measurement import identity_of
from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.llm.budget import Account, Limits
from skill_fleet.llm.call_context import current_call
from skill_fleet.llm.calls.engine import Inner, Retry
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.models import Connections, inner_of
from skill_fleet.optimization.conformance import tickets
from skill_fleet.optimization.estimates.estimate import effort_of
from skill_fleet.optimization.optimizer import Optimizer
from skill_fleet.optimization.planning.plan import Plan, make_plan
from skill_fleet.optimization.records.events import EventLog
from skill_fleet.optimization.records.request import OptimizationRequest
from skill_fleet.optimization.records.runs import new_run
from skill_fleet.optimization.search import Search, Tracker, focused
from skill_fleet.optimization.searching.stages import SPARING, Baseline, measure_baseline, measured
from skill_fleet.optimization.session import Control, Session, open_session, quiet

Wrap = Callable[[Inner], Inner]
Asked = Counter[tuple[str, str]]


def _as_it_is(inner: Inner) -> Inner:
    return inner


@dataclass(frozen=True)
class Case:
    """What of a search differs from the usual one.

    Attributes:
        threads: Examples under way at a time.
        seed: Of the search.
        cap: Most calls of its own; None is no cap.
        program: A class of `tickets`.
        modules: Only these predictors are to change.
        models: Phase -> model, where it is not the offline one.
        measure: Whether the program found is measured on the validation set.
        wrap: What stands between the product and the model.
    """

    threads: int = 8
    seed: int = 1
    cap: int | None = None
    program: str = "TriageProgram"
    modules: tuple[str, ...] = ()
    models: Mapping[Phase, str] | None = None
    measure: bool = False
    wrap: Wrap = _as_it_is


@dataclass(frozen=True)
class Searched:
    """One search in one process.

    Attributes:
        student: What it was given.
        before: The student's state beforehand.
        found: The program it returned, or None when it was stopped.
        halt: What stopped it, or None.
        made: Calls it paid for, by phase.
        asked: Attempts at a model, by phase and model.
        best_seen: State of the best program the tracker saw.
        plan: Of the run it is part of.
        gain: Mean on the validation set, minus the student's; None where it was not measured.
        reloaded_alike: Whether the program, saved and loaded, asks and scores the same; None where it was not
            measured.
    """

    student: dspy.Module
    before: dict[str, Any]
    found: dspy.Module | None
    halt: Halt | None
    made: Counter[str]
    asked: Asked
    best_seen: dict[str, Any] | None
    plan: Plan
    gain: float | None
    reloaded_alike: bool | None

    @property
    def calls(self) -> int:
        """Calls it paid for."""
        return self.made.total()

    @property
    def mark(self) -> str:
        """What tells the program found from others."""
        if self.found is None:
            return "none"
        try:
            return program_hash(self.found)
        except TypeError:  # not to be saved, which is another promise
            return digest(repr(clean_state(self.found)))


class Bench:
    """An optimizer under test, and the searches that several checks look at.

    Args:
        optimizer: Makes it.
        trials: `--trials` of a small search.
    """

    def __init__(self, optimizer: Callable[[], Optimizer], trials: int) -> None:
        self.optimizer = optimizer
        self.trials = trials
        self._folder = TemporaryDirectory(prefix="conformance-")

    def close(self) -> None:
        """Remove the workspaces."""
        root = self._folder.name
        sys.path[:] = [place for place in sys.path if not place.startswith(root)]
        self._folder.cleanup()

    @cached_property
    def whole(self) -> Searched:
        """The uninterrupted search."""
        return self.search("whole", Case(measure=True))

    @cached_property
    def capped(self) -> Searched:
        """The same with half the calls it takes."""
        return self.search("capped", Case(cap=self.whole.calls // 2))

    def search(self, place: str, case: Case) -> Searched:
        """One search from the baseline.

        Args:
            place: Name of the workspace; its journal is that of the searches there before.
            case: What is special about it.
        """
        asked: Asked = Counter()
        session = self._opened(place, case, asked)
        try:
            baseline = measure_baseline(session)
            spent = _by_phase(session)
            asked.clear()
            if case.cap is not None:
                session.account = Account(Limits(calls=case.cap), SYSTEM_CLOCK)
            with focused(baseline.program, case.modules) as student:
                found, halt, before, best = _searched(session, baseline, student, case.seed)
            made, models = _by_phase(session) - spent, Counter(asked)
            gain = alike = None
            if found is not None and case.measure:
                gain, alike = _measured(session, baseline, found)
            return Searched(student, before, found, halt, made, models, best, session.plan, gain, alike)
        finally:
            session.drain()
            session.line.close()

    def _opened(self, place: str, case: Case, asked: Asked) -> Session:
        root = Path(self._folder.name) / place
        root.mkdir(exist_ok=True)
        (root / "tickets.json").write_text(json.dumps(tickets.tickets()), encoding="utf-8")
        loaded = load(root, environ={})
        name = self.optimizer().info.name
        request = OptimizationRequest(
            program=f"{tickets.__name__}:{case.program}",
            metric=f"{tickets.__name__}:exact",
            data="tickets.json",
            optimizer=name,
            auto=None,
            trials=self.trials,
            rounds=1,
            num_threads=case.threads,
            modules=case.modules,
            models=case.models or {},
            output="found.json",
            reward=f"{tickets.__name__}:plausible" if _asks_for_reward(self.optimizer()) else None,
        )
        plan = make_plan(request, loaded, {name: self.optimizer})
        folder = new_run(loaded.workspace.runs, SYSTEM_CLOCK)
        folder.path.mkdir(parents=True, exist_ok=True)

        def factory(spec: ModelSpec, environ: Mapping[str, str]) -> Inner:
            return _Counting(case.wrap(inner_of(spec, environ)), spec.model, asked)

        return open_session(
            plan,
            folder,
            loaded,
            EventLog(folder.events, SYSTEM_CLOCK),
            clock=SYSTEM_CLOCK,
            control=Control(),
            connections=Connections.of({}, factory),
            retry=Retry(),
        )


def _searched(
    session: Session, baseline: Baseline, student: dspy.Module, seed: int
) -> tuple[dspy.Module | None, Halt | None, dict[str, Any], dict[str, Any] | None]:
    """What the optimizer returned, what stopped it, the student's state before, the best the tracker saw."""
    plan = session.plan
    gate = session.gate()
    lms = session.lms(gate, "halt")
    tracker = Tracker([identity_of(example)[0] for example in baseline.validation])
    before = clean_state(student)
    search = Search(
        student,
        baseline.train,
        baseline.validation,
        Judged(plan.metric, lms["judge"]),
        lms,
        effort_of(plan),
        seed,
        baseline.demo_threshold,
        lambda: None,
        plan.reward,
    )
    settings = {"lm": lms["evaluation"], "callbacks": [tracker], **SPARING, "max_errors": 10**9}
    found: dspy.Module | None = None
    halt: Halt | None = None
    with quiet(session.folder), dspy.context(**settings):
        try:
            found = plan.optimizer.improve(search)
        except Halt as stopped:
            halt = stopped
        except Exception:
            # With the gate closed, whatever an optimizer raises is the echo of a Halt it was given.
            if gate.closed is None:
                raise
            halt = gate.closed
    session.drain()
    return found, halt, before, tracker.best()


def _measured(session: Session, baseline: Baseline, found: dspy.Module) -> tuple[float, bool]:
    """What the program gains on the validation set, and whether it is the same when saved and loaded."""
    own = measured(session, found, baseline.validation, session.gate(), "validation")
    gain = (own.mean or 0.0) - (baseline.measured.mean or 0.0)
    try:
        saved = json.loads(json.dumps(clean_state(found)))
    except TypeError:
        return gain, False
    loaded = with_state(session.plan.entry.build(), saved)
    made = session.line.traffic.made
    again = measured(session, loaded, baseline.validation, session.gate(), "validation")
    return gain, again.scores() == own.scores() and session.line.traffic.made == made


class _Counting:
    """A model that notes in which phase it is asked."""

    def __init__(self, inner: Inner, model: str, asked: Asked) -> None:
        self._inner = inner
        self._model = model
        self._asked = asked
        self._lock = threading.Lock()

    def complete(self, request: Request) -> Response:
        """One attempt."""
        self._note()
        return self._inner.complete(request)

    async def acomplete(self, request: Request) -> Response:
        """One attempt, awaited."""
        self._note()
        return await self._inner.acomplete(request)

    def _note(self) -> None:
        with self._lock:
            self._asked[current_call().phase, self._model] += 1


def _asks_for_reward(optimizer: Optimizer) -> bool:
    return any(parameter.name == "reward" for parameter in optimizer.info.parameters)


def _by_phase(session: Session) -> Counter[str]:
    return Counter(session.line.journal.spent(session.folder.run_id).by_phase)
