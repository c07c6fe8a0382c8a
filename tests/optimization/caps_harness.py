"""Let a cap of any kind stop an optimization at a random call, and say what broke of what caps promise.

Used by the tests and by `benchmarks/caps.py`.

Runs are real runs in this process, on the ticket program and the offline model under a price. A run that
nothing stops shows which stages there are and what each call takes; then caps are set so that they are
reached at a random call of a random stage. `caps_books` says what came of it.
"""

import contextlib
import importlib
import json
import random
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skill_fleet.config.load import load
from skill_fleet.llm.budget import Gate, Limits
from skill_fleet.llm.call_context import current_call
from skill_fleet.llm.calls.engine import Retry
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.models import Connections, inner_of
from skill_fleet.optimization.planning.plan import make_plan, resumed_plan
from skill_fleet.optimization.records.events import Event
from skill_fleet.optimization.records.request import OptimizationRequest
from skill_fleet.optimization.records.runs import RunFolder, new_run
from skill_fleet.optimization.run import Finished, run
from skill_fleet.optimization.session import Control

PROGRAMS = Path(__file__).parent / "programs"
KINDS = ("calls", "tokens", "usd", "minutes")
TRIALS = {"gepa": 2, "miprov2": 4, "bootstrap_random_search": 3, "copro": 1}
"""`--trials` of a small search; 2 where nothing is said."""
EXTRA: dict[str, dict[str, Any]] = {name: {"reward": "triage:plausible"} for name in ("best_of_n", "refine")}
"""Further fields of the request that an optimizer needs."""
SECONDS_A_CALL = 1.0
"""What the clock of these runs moves with every call."""
_MODEL = {
    "model": "offline/rules-v1",
    "temperature": 0.0,
    "max_tokens": 600,
    "price": {"input_per_million": 150.0, "output_per_million": 600.0},
}
_SEARCHING = {"profiling": "bootstrap", "optimization": "proposal", "evaluation": "trials"}
_REFLECTING = ("gepa", "simba")


@dataclass(frozen=True)
class Case:
    """One optimizer, with a metric that asks a model or one that does not."""

    optimizer: str
    judged: bool = False
    threads: int = 8


@dataclass(frozen=True)
class Call:
    """A call of a run that nothing stopped: the stage it belongs to and what it took."""

    stage: str
    tokens: int
    usd: float
    reserved_tokens: int
    reserved_usd: float


@dataclass
class Watch:
    """What is seen of a run from inside: who passed the gates, who was refused, when, in which stage.

    Attributes:
        reflecting: Whether what the optimizer proposes comes of reading answers.
        stage: The last one the run said it is in.
        entered: Calls let through, by gate.
        refused: First refusal of each gate: stage, calls let through by all gates before, its ceiling.
        knocks: Who came to a gate after the run was over.
        over: Whether the run has returned.
        closed: When each gate closed, on the system's own clock, by the stage the run was in.
    """

    reflecting: bool = False
    stage: str = "preflight"
    entered: dict[int, int] = field(default_factory=dict)
    refused: dict[int, tuple[str, int, int | None]] = field(default_factory=dict)
    knocks: int = 0
    over: bool = False
    closed: list[tuple[str, float]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def here(self) -> str:
        """The stage of the call that this thread makes."""
        phase = current_call().phase
        if phase == "judge":
            return "judge"
        if self.stage != "search":
            return self.stage
        return "reflection" if self.reflecting and phase == "optimization" else _SEARCHING[phase]

    def listen(self, event: Event) -> None:
        """Note the stage."""
        if event.kind == "progress" and "stage" in event.data:
            self.stage = str(event.data["stage"])


class WatchedGate(Gate):
    """A gate that tells a watch of everybody who comes; the product's in everything else."""

    watch: Watch

    def enter(self, worst: Any) -> int:
        try:
            thread = super().enter(worst)
        except Halt:
            with self.watch.lock:
                before = sum(self.watch.entered.values())
                seen = (self.watch.here(), before, self.ceiling.calls)
                self.watch.refused.setdefault(id(self), seen)
            raise
        with self.watch.lock:
            self.watch.entered[id(self)] = self.watch.entered.get(id(self), 0) + 1
        return thread

    def close(self, halt: Halt) -> Halt:
        first = super().closed is None
        reason = super().close(halt)
        if first:
            self.watch.closed.append((self.watch.stage, time.monotonic()))
        return reason

    @property
    def closed(self) -> Halt | None:
        self.watch.knocks += self.watch.over
        return super().closed


class WatchingControl(Control):
    """A user's hand that also watches every gate."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch
        self.kept: list[Gate] = []

    def watch(self, gate: Gate) -> Gate:
        gate.__class__ = WatchedGate
        gate.watch = self._watch  # type: ignore[attr-defined]
        self.kept.append(gate)  # so that no other gets its id
        return super().watch(gate)


class CallClock:
    """A clock of which every call takes a second, and nothing else any time."""

    def __init__(self) -> None:
        self._time = 0.0
        self._lock = threading.Lock()

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return self._time

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.001))

    def tick(self) -> None:
        with self._lock:
            self._time += SECONDS_A_CALL


class Ticking:
    """The offline model; each call moves the clock, and is noted with the stage it belongs to."""

    def __init__(self, inner: Any, clock: CallClock, watch: Watch, stages: list[str]) -> None:
        self._inner = inner
        self._clock = clock
        self._watch = watch
        self._stages = stages

    def complete(self, request: Any) -> Any:
        self._stages.append(self._watch.here())
        self._clock.tick()
        return self._inner.complete(request)

    async def acomplete(self, request: Any) -> Any:
        return self.complete(request)


@dataclass(frozen=True)
class Place:
    """A workspace of its own with the ticket program, its metrics and the priced offline model."""

    root: Path

    def request(self, case: Case, limits: Limits) -> OptimizationRequest:
        """The case as it is asked for."""
        return OptimizationRequest(
            program="counted:CountedProgram",
            metric="judging:judged" if case.judged else "triage:exact",
            data="tickets.json",
            optimizer=case.optimizer,
            auto=None,
            trials=TRIALS.get(case.optimizer, 2),
            rounds=2,
            num_threads=case.threads,
            limits=limits,
            output="out.json",
            **EXTRA.get(case.optimizer, {}),
        )

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        return load(self.root, environ={}).workspace.ledger


@dataclass(frozen=True)
class Ran:
    """A run that is over.

    Attributes:
        stages: Of its calls, in order.
        begun_late: Runs of the program that the optimizer began after the halt of its search.
    """

    finished: Finished
    folder: RunFolder
    watch: Watch
    place: Place
    stages: Sequence[str]
    begun_late: int

    @property
    def result(self) -> Any:
        return self.finished.result


def make_place(root: Path) -> Place:
    """A new workspace."""
    root.mkdir(parents=True)
    for file in PROGRAMS.glob("*.py"):
        shutil.copy(file, root)
    if str(PROGRAMS) not in sys.path:
        sys.path.insert(0, str(PROGRAMS))
    (root / "tickets.json").write_text(json.dumps(importlib.import_module("triage").tickets()))
    (root / "config").mkdir()
    models = {"default": "priced", "registry": {"priced": _MODEL}}
    (root / "config" / "config.yaml").write_text(json.dumps({"models": models}))
    return Place(root)


def ran(place: Place, case: Case, limits: Limits, *, resume: RunFolder | None = None) -> Ran:
    """Run the case, or go on with a run of it."""
    loaded = load(place.root, environ={})
    request = place.request(case, limits)
    clock, watch = CallClock(), Watch(case.optimizer in _REFLECTING)
    stages: list[str] = []
    started = importlib.import_module("counted").STARTED
    started.clear()
    plan = make_plan(request, loaded) if resume is None else resumed_plan(resume, loaded, request)
    folder = resume or new_run(loaded.workspace.runs, clock)
    finished = run(
        plan,
        folder,
        loaded,
        listener=watch.listen,
        control=WatchingControl(watch),
        clock=clock,
        connections=Connections.of(
            {}, lambda spec, environ: Ticking(inner_of(spec, environ), clock, watch, stages)
        ),
        retry=Retry(attempts=1),
    )
    watch.over = True
    return Ran(finished, folder, watch, place, stages, _begun_late(watch, started))


def _begun_late(watch: Watch, started: Sequence[tuple[float, str]]) -> int:
    """Runs of the program that an optimizer's tasks began after its search was closed."""
    closed = [at for stage, at in watch.closed if stage == "search"]
    return sum(at > min(closed) and not name.startswith("measure") for at, name in started) if closed else 0


@dataclass(frozen=True)
class Whole:
    """The case when nothing stops it: its calls in order, and its final program."""

    calls: Sequence[Call]
    hash: str

    @property
    def stages(self) -> list[str]:
        """The stages in which something is paid, in order."""
        return list(dict.fromkeys(call.stage for call in self.calls))


def whole(case: Case, root: Path) -> Whole:
    """Run the case to its end, one call after the other."""
    done = ran(make_place(root), Case(case.optimizer, case.judged, threads=1), Limits())
    if done.finished.error is not None:
        raise RuntimeError(f"{case} does not end by itself: {done.finished.error.message}")
    with contextlib.closing(sqlite3.connect(done.place.ledger)) as db:
        rows = db.execute(
            "select input_tokens + output_tokens, usd, reserved_tokens, reserved_usd from attempt order by id"
        ).fetchall()
    calls = [Call(stage, *row) for stage, row in zip(done.stages, rows, strict=True)]
    return Whole(calls, done.result.program_hash)


def place_cap(rng: random.Random, kind: str, stage: str, found: Whole) -> Limits:
    """A cap that is reached about at a random call of a stage; a search leaves some for the sealed test."""
    index = rng.choice([number for number, call in enumerate(found.calls) if call.stage == stage])
    before, call = found.calls[:index], found.calls[index]
    share = _held_share(found, index) if stage in (*_SEARCHING.values(), "reflection", "judge") else 0.0
    room = 1.0 / (1.0 - share)
    if kind == "calls":
        return Limits(calls=round(index * room))
    if kind == "tokens":
        spent = sum(each.tokens for each in before)
        return Limits(tokens=round(spent * room) + rng.randint(0, call.reserved_tokens))
    if kind == "usd":
        spent_usd = sum(each.usd for each in before)
        return Limits(usd=spent_usd * room + rng.uniform(0.0, call.reserved_usd))
    return Limits(minutes=index * room * SECONDS_A_CALL / 60)


def _held_share(found: Whole, index: int) -> float:
    """Which share of a cap at this call the search would leave for the sealed test; 0 where it is half."""
    test = 1.2 * sum(call.stage == "sealed test" for call in found.calls)
    return test / (index + test) if 2 * test < index + test else 0.0
