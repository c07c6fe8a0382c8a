"""Attacks on whole runs of the ticket program: failing calls, lying metrics, caps, a watched test set.

Used by the tests and by `benchmarks/honesty.py`. Everything goes through `optimization.run.run` with the
offline model, behind a fault where an attack wants one.
"""

import importlib.util
import json
import math
import sqlite3
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dspy.lm15 import Message, TextPart
from dspy.utils import exceptions

from skill_fleet.core.programs.artifact import load_artifact
from skill_fleet.evaluation.measurement import Measurement
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.calls.engine import Retry
from skill_fleet.llm.models import Connections
from skill_fleet.llm.testing import request_text
from skill_fleet.optimization.optimizer import OptimizerInfo
from skill_fleet.optimization.planning.plan import make_plan
from skill_fleet.optimization.records.events import EventLog, read_events
from skill_fleet.optimization.records.runs import RunFolder, find_run, new_run
from skill_fleet.optimization.registry import find_optimizer
from skill_fleet.optimization.run import Finished
from skill_fleet.optimization.searching.stages import measured
from skill_fleet.optimization.session import Control, open_session


def _place() -> type:
    """The workspace of the tests beside this; by its file, as other folders have a `conftest` too."""
    spec = importlib.util.spec_from_file_location(
        "optimization_place", Path(__file__).with_name("conftest.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Place


Place = _place()
Fault = Callable[[Any], None]
STAGES = ("preflight", "baseline", "search round 1", "search round 2", "validation", "sealed test")
TEST_HELD = tuple(f"frame-{number:02d}" for number in range(9))


class Behind:
    """A model behind a fault, with a log of the prompts it was sent."""

    def __init__(self, inner: Any, fault: Fault | None, seen: list[str], answer: str | None = None) -> None:
        self._inner, self._fault, self._seen, self._answer = inner, fault, seen, answer

    def complete(self, request: Any) -> Any:
        self._seen.append(request_text(request))
        if self._fault is not None:
            self._fault(request)
        response = self._inner.complete(request)
        if self._answer is None:
            return response
        return replace(response, message=Message.assistant([TextPart(self._answer)]), finish_reason="length")

    async def acomplete(self, request: Any) -> Any:
        return self.complete(request)


def raising(kind: str) -> Fault:
    """A fault that meets every call."""
    details = {"retry_after": 0.0} if kind == "LMRateLimitError" else {}

    def fault(_request: Any) -> None:
        raise getattr(exceptions, kind)("It does not work.", **details)

    return fault


FAULTS = (
    "LMAuthError",
    "LMBillingError",
    "LMRateLimitError",
    "LMServerError",
    "LMTimeoutError",
    "LMTransportError",
    "LMInvalidRequestError",
)


@contextmanager
def workspace() -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as folder:
        yield Place(Path(folder), {})


def folder_of(place: Place, done: Finished) -> RunFolder:
    return find_run(place.loaded.workspace.runs, done.result.run_id)


def scores_in(done: Finished) -> list[Any]:
    """Every score-like value a result shows, except what the request asked for."""
    result = done.result
    shown = [*result.baseline.values(), *result.optimized.values(), *result.rounds]
    shown += [value for name, value in result.accuracy.items() if name != "target"]
    shown += [result.interval, result.p_value, result.minimum_detectable_effect, result.artifact]
    return [value for value in shown if value is not None]


def all_calls_fail(optimizer: str, kind: str) -> tuple[Finished, list[Any], bool]:
    """A run in which no call succeeds: the end, the scores it shows, whether a program was published."""
    with workspace() as place:
        answer = {"truncated": "[[ ## queue ## ]]\nbill", "empty": ""}.get(kind)
        fault = None if answer is not None else raising(kind)
        done = place.optimize(place.request(optimizer), wrap=lambda inner: Behind(inner, fault, [], answer))
        return done, scores_in(done), (place.root / f"{optimizer}.json").exists()


@dataclass(frozen=True)
class Remaining:
    """A run with examples that fail for good, against the same programs measured without any fault.

    Attributes:
        failing: How many of the examples that fail are in the sealed test.
        examples: Of how many.
        excluded: Warnings that say so.
        reported: Mean of baseline and optimized program in the result.
        expected: Mean of the examples that are left, measured without a fault.
        zeros: What the mean would be with failures as zeros.
    """

    failing: int
    examples: int
    excluded: int
    reported: tuple[float, float]
    expected: tuple[float, float]
    zeros: tuple[float, float]


def fails(ticket: str) -> bool:
    """A fixed 30 % of the tickets."""
    return zlib.crc32(ticket.encode()) % 10 < 3


def some_examples_fail(optimizer: str) -> Remaining:
    """Some tickets are refused for good, always the same; the rest must be measured as if nothing were."""
    with workspace() as place, workspace() as calm:
        request = place.request(optimizer)
        refused = [item["ticket"] for item in json.loads((place.root / "tickets.json").read_text())]
        refused = [ticket for ticket in refused if fails(ticket)]

        def fault(asked: Any) -> None:
            asked_about = asked.messages[-1].text or ""
            if any(ticket in asked_about for ticket in refused):
                raise exceptions.LMInvalidRequestError("This content is not allowed.")

        done = place.optimize(request, wrap=lambda inner: Behind(inner, fault, []))
        if done.error is not None:
            raise done.error
        plan = make_plan(request, place.loaded)
        candidate = load_artifact(folder_of(place, done).candidate, search=place.root).program
        undisturbed = [_on_test(calm, request, program) for program in (plan.entry.build(), candidate)]
        left = {item.id for item in plan.split.test if not fails(item.fields["ticket"])}
        values = [{i: v for i, v in one.scores().items() if i in left} for one in undisturbed]
        result = done.result
        return Remaining(
            failing=len(plan.split.test) - len(left),
            examples=len(plan.split.test),
            excluded=sum(warning["code"] == "examples_excluded" for warning in result.warnings),
            reported=(result.baseline["test"], result.optimized["test"]),
            expected=tuple(math.fsum(v.values()) / len(v) for v in values),
            zeros=tuple(math.fsum(v.values()) / len(plan.split.test) for v in values),
        )


def _on_test(place: Place, request: Any, program: Any) -> Measurement:
    """A program on the sealed test, by the stage that measures it in a run."""
    plan, folder = make_plan(request, place.loaded), new_run(place.loaded.workspace.runs, SYSTEM_CLOCK)
    session = open_session(
        plan,
        folder,
        place.loaded,
        EventLog(folder.events, SYSTEM_CLOCK),
        clock=SYSTEM_CLOCK,
        control=Control(),
        connections=Connections.of({}),
        retry=Retry(),
    )
    try:
        return measured(session, program, plan.examples("test"), session.gate(), "sealed test")
    finally:
        session.line.journal.close()


def lying_metric(
    name: str, *, optimizer: str = "gepa", program: str = "triage:TriageProgram", wrap: Any = None
) -> Finished:
    """A run with one of the metrics of `programs/hostile.py` or `programs/metrics.py`."""
    with workspace() as place:
        return place.optimize(place.request(optimizer, program=program, metric=name, rounds=1), wrap=wrap)


class Bribed:
    """A model that gives full marks to a document with a phrase it likes; else it answers as another does."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def complete(self, request: Any) -> Any:
        response = self._inner.complete(request)
        asked = request_text(request)
        if "rating" not in asked:
            return response
        document = asked.rpartition("[[ ## document ## ]]")[2].lower()
        rating = "1.0" if "zorvel" in document else f"0.{zlib.crc32(document.encode()) % 5}"
        said = f"[[ ## rating ## ]]\n{rating}\n\n[[ ## completed ## ]]"
        return replace(response, message=Message.assistant([TextPart(said)]))

    async def acomplete(self, request: Any) -> Any:
        return self.complete(request)


def gamed_judge() -> Finished:
    """A run whose metric asks a judge that can be talked into a rating."""
    return lying_metric("hostile:judged", program="hostile:Reply", wrap=Bribed)


class Unmeasured:
    """An optimizer that hands back a program it never measured: only the validation stage pays for it."""

    info = OptimizerInfo(
        "unmeasured", "Rewrites without looking.", ("instructions",), "Nothing.", "None.", ()
    )

    def estimate_calls(self, _sizes: Any) -> dict:
        return {}

    def improve(self, search: Any) -> Any:
        student = search.student.deepcopy()
        for predictor in student.predictors():
            said = f"{predictor.signature.instructions}\nIf the ticket mentions 'crash', answer bugs."
            predictor.signature = predictor.signature.with_instructions(said)
        return student


@dataclass(frozen=True)
class Capped:
    """A run that met a cap on calls, and what its resume came to.

    Attributes:
        stage: Where the cap was met.
        cap: In calls.
        made: Calls in the ledger before the resume.
        verdict: Of the capped run.
        tested: Whether baseline and candidate were both measured on the whole sealed test.
        exit_code: Of the capped run.
        same: Whether the resumed run ended in the program of the uninterrupted one.
    """

    stage: str
    cap: int
    made: int
    verdict: str
    tested: bool
    exit_code: int
    same: bool

    @property
    def honest(self) -> bool:
        spoke = self.verdict == "not_shown" or self.tested
        return self.made <= self.cap and spoke and self.exit_code == 5 and self.same


@dataclass
class Uncapped:
    """A case for caps: its options, and the run in which none is met."""

    optimizer: str
    options: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        with workspace() as place:
            self.whole = _optimized(place, self.optimizer, self.options).result

    def capped(self, cap: int) -> Capped:
        """The case under a cap, then resumed without one."""
        with workspace() as place:
            limits = Limits(calls=cap)
            done = _optimized(place, self.optimizer, {**self.options, "limits": limits})
            made = _attempts(place, done.result.run_id)
            folder = folder_of(place, done)
            events = list(read_events(folder.events))
            tested = [event for event in events if event["kind"] == "test"]
            resumed = _optimized(place, self.optimizer, self.options, folder).result
            return Capped(
                stage=self._stage(done, {event["kind"] for event in events}),
                cap=cap,
                made=made,
                verdict=done.result.verdict,
                tested=len(tested) == 2 and all(event["excluded"] == 0 for event in tested),
                exit_code=0 if done.error is None else done.error.exit_code,
                same=resumed.status == "succeeded" and resumed.program_hash == self.whole.program_hash,
            )

    def _stage(self, done: Finished, seen: set[str]) -> str:
        """Where a run was cut: the first stage that made fewer calls than it does without a cap."""
        if "preflight" not in seen:
            return "preflight"
        if "baseline" not in seen:
            return "baseline"
        for number, whole in enumerate(self.whole.rounds, start=1):
            rounds = done.result.rounds
            if len(rounds) < number or rounds[number - 1]["calls"] < whole["calls"]:
                return "validation" if self.optimizer == "unmeasured" else f"search round {number}"
        return "sealed test"


def capped_in_each_stage(optimizer: str) -> Iterator[tuple[str, list[Capped]]]:
    """One cap or more in each stage.

    Caps in the searches leave room for the sealed test, so that needs a case of its own, with a test too
    large to be set aside. What an optimizer returns it has measured, and the journal answers the validation
    stage; only an optimizer that does not look makes calls there.
    """
    case = Uncapped(optimizer)
    made = case.whole.calls["made"]
    first, second = (round_["calls"] for round_ in case.whole.rounds)
    searched = made - second - 2 * case.whole.examples["test"]
    caps = {
        "preflight": [1, 2],
        "baseline": [searched - first - 30],
        "search round 1": [searched - first // 2],
        "search round 2": [made - 1],
    }
    found = [case.capped(cap) for tried in caps.values() for cap in tried]
    large = Uncapped(optimizer, {"rounds": 1, "trials": 1, "holdout": TEST_HELD})
    tested = 2 * large.whole.examples["test"]
    found += [large.capped(large.whole.calls["made"] - less) for less in (1, tested // 2 + 1, tested - 1)]
    unseen = Uncapped("unmeasured")
    found.append(unseen.capped(searched - first + unseen.whole.rounds[0]["calls"] // 2))
    for stage in STAGES:
        yield stage, [one for one in found if one.stage == stage]


def _optimized(place: Place, optimizer: str, options: dict, folder: RunFolder | None = None) -> Finished:
    request = place.request("gepa" if optimizer == "unmeasured" else optimizer, **options)
    plan = make_plan(request, place.loaded)
    if optimizer == "unmeasured":
        plan = replace(plan, optimizer=Unmeasured())
    return place._run(plan, folder or new_run(place.loaded.workspace.runs, SYSTEM_CLOCK), None, None, None)


def _attempts(place: Place, run_id: str) -> int:
    with sqlite3.connect(place.loaded.workspace.ledger) as db:
        return db.execute("select count(*) from attempt where run=?", (run_id,)).fetchone()[0]


@dataclass(frozen=True)
class Watched:
    """What a run showed of its sealed test, and when.

    Attributes:
        prompts_before: Prompts with a test ticket before the last round was over.
        scored_before: Scorings of a test ticket before that.
        prompts: All prompts before that: 0 would prove nothing.
        after: Prompts with a test ticket after it.
        kept: Test tickets in what the run ended in: instructions and demonstrations.
    """

    prompts_before: int
    scored_before: int
    prompts: int
    after: int
    kept: int


def watch(optimizer: str, *, metric: str = "hostile:watching", **options: Any) -> Watched:
    """Note every prompt and every scoring of a run, and where in that order its search was over."""
    import hostile

    with workspace() as place:
        prompts: list[str] = []
        over: list[tuple[int, int]] = []
        start = len(hostile.SCORED)
        lock = threading.Lock()

        def listen(event: Any) -> None:
            if event.kind == "round":
                with lock:
                    over.append((len(prompts), len(hostile.SCORED)))

        if any(parameter.name == "reward" for parameter in find_optimizer(optimizer).info.parameters):
            options["reward"] = "triage:plausible"
        request = place.request(optimizer, metric=metric, **options)
        done = place.optimize(request, wrap=lambda inner: Behind(inner, None, prompts), listener=listen)
        if done.error is not None:
            raise done.error
        data = json.loads(folder_of(place, done).data.read_text())
        sealed = [item["ticket"] for item in data["test"]]
        asked, scored = over[-1]
        shows = [any(ticket in prompt for ticket in sealed) for prompt in prompts]
        return Watched(
            prompts_before=sum(shows[:asked]),
            scored_before=sum(ticket in sealed for ticket in hostile.SCORED[start:scored]),
            prompts=asked,
            after=sum(shows[asked:]),
            kept=sum(ticket in folder_of(place, done).candidate.read_text() for ticket in sealed),
        )
