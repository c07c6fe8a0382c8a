"""One problem, optimized by stock DSPy or by ours: for the tests of prefetch and `benchmarks/optimizers.py`.

A program of two predictors, and a model that answers from a hash of the prompt alone: deterministic, so that
both sides must end in the same program. Six answers of ten are right, so bootstrapping fails now and then.
"""

import contextlib
import hashlib
import json
import os
import random
import re
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy

from skill_fleet.config.settings import PHASES, ModelSpec
from skill_fleet.core.dspy.examples import identified
from skill_fleet.core.programs.catalog import clean_state, program_hash
from skill_fleet.evaluation.judged import Judged
from skill_fleet.evaluation.measurement import identity_of
from skill_fleet.evaluation.user_metric import adapt_metric
from skill_fleet.foundation.canonical import digest
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.llm.budget import Account, Gate, Limits
from skill_fleet.llm.calls.engine import Line, MeteredEngine, Retry
from skill_fleet.llm.fleet_lm import FleetLM
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.journal.journal import Journal
from skill_fleet.llm.testing import ScriptedModel, request_text
from skill_fleet.optimization.registry import find_optimizer
from skill_fleet.optimization.search import Effort, Search, Tracker
from skill_fleet.optimization.searching.stages import SPARING

SPEC = ModelSpec(model="scripted/hash")
THRESHOLD = 1.0


class TwoSteps(dspy.Module):
    """An outline, then an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.outline = dspy.Predict("task -> outline")
        self.write = dspy.Predict("task, outline -> answer")

    def forward(self, task: str) -> dspy.Prediction:
        return self.write(task=task, outline=self.outline(task=task).outline)


def tasks(first: int, number: int) -> list[dspy.Example]:
    """So many tasks, counted from the first."""
    made = []
    for i in range(first, first + number):
        example = dspy.Example(task=f"task {i}: describe thing {i * 7919 % 1000}", answer="x")
        made.append(identified(example.with_inputs("task"), f"task-{i}", f"task-{i}"))
    return made


def right_six_times_of_ten(gold, pred, trace=None, pred_name=None, pred_trace=None):
    """Decided by the answer alone."""
    marks = re.findall(r"[0-9a-f]{12}", getattr(pred, "answer", "") or "")
    score = float(bool(marks) and int(marks[-1][:4], 16) % 100 < 60)
    return dspy.Prediction(score=score, feedback=f"{gold.task} scored {score}.")


def plain(gold, pred, trace=None):
    """The same as a number, as stock optimizers want it."""
    return right_six_times_of_ten(gold, pred).score


class HashModel(ScriptedModel):
    """Fills every field it is asked for with a word made of the prompt; a rollout changes nothing.

    Stock DSPy does not tell an engine of rollouts, so a model that both sides use must not look at them.
    """

    def __init__(self, *, latency: float = 0.0, fault: Any = None) -> None:
        super().__init__(latency=latency, answer=_answer, fault=fault)
        self.by_ghosts = 0

    def __deepcopy__(self, memo):
        return self

    def complete(self, request):
        if threading.current_thread().name == "ghost":
            self.by_ghosts += 1  # a share is looked at, not the count
        return super().complete(request)


def _answer(request) -> str:
    text = request_text(request)
    mark = hashlib.sha256(f"{request.config.temperature}{text}".encode()).hexdigest()
    last = request.messages[-1].text or ""
    tail = last[last.rfind("Respond with") :] if "Respond with" in last else last[-400:]
    names = [name for name in re.findall(r"\[\[ ## (\w+) ## \]\]", tail) if name != "completed"]
    if not names:
        quoted = re.findall(r"`(\w+)`", tail)
        return json.dumps({name: f"{name}-{mark[:12]}" for name in quoted}) if quoted else f"```\n{mark}\n```"
    fields = [f"[[ ## {name} ## ]]\n{name}-{mark[i * 4 : i * 4 + 12]}" for i, name in enumerate(names)]
    return "\n\n".join([*fields, "[[ ## completed ## ]]"])


@dataclass
class Done:
    """What one search came to.

    Attributes:
        hash: Of the program; None when it was stopped.
        table: Of all candidate programs and their scores.
        calls: Attempts at the model.
        most_in_flight: At a time.
        by_phase: Paid calls, where there is a journal.
        best_seen: State of the best program the tracker saw.
        halt: What stopped it.
        rollouts: Scored predictions that the search was told of.
        from_journal: Calls that were answered from the journal.
    """

    hash: str | None
    table: str
    calls: int
    most_in_flight: int
    by_phase: Counter[str]
    best_seen: dict[str, Any] | None = None
    halt: Halt | None = None
    rollouts: int = 0
    from_journal: int = 0


def table_of(program: dspy.Module | None) -> str:
    """A hash of the candidates and their scores, in order; empty where an optimizer keeps none."""
    rows = getattr(program, "candidate_programs", None) or []
    return digest([(row["score"], program_hash(row["program"])) for row in rows]) if rows else ""


def ours(
    name: str,
    folder: Path,
    model: ScriptedModel,
    effort: Effort,
    *,
    train: int = 30,
    validation: int = 20,
    calls: int | None = None,
    gates: list[Gate] | None = None,
    program: dspy.Module | None = None,
    metric: Any = right_six_times_of_ten,
    callbacks: tuple[Any, ...] = (),
    seed: int = 0,
) -> Done:
    """The optimizer as the product runs it: our models and journal, prefetch where it is on."""
    folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(folder / "ledger.sqlite", folder / "responses.sqlite", clock=SYSTEM_CLOCK)
    line = Line(journal, "run", SYSTEM_CLOCK, Retry(attempts=2, base=0.0))
    gate = Gate(Account(Limits(calls=calls), SYSTEM_CLOCK))
    if gates is not None:
        gates.append(gate)
    lms = {p: FleetLM(MeteredEngine(model, SPEC, line, gate, None), phase=p) for p in PHASES}
    rollouts = [0]

    def on_rollout() -> None:
        rollouts[0] += 1

    student = program or TwoSteps()
    examples = tasks(1000, validation)
    search = Search(
        student,
        tasks(0, train),
        examples,
        Judged(adapt_metric(metric), lms["judge"]),
        lms,
        effort,
        seed,
        THRESHOLD,
        on_rollout,
    )
    tracker = Tracker([identity_of(example)[0] for example in examples])
    found = halt = None
    before = clean_state(student)
    settings = {"lm": lms["evaluation"], "callbacks": [tracker, *callbacks], **SPARING, "max_errors": 10**9}
    try:
        with quiet(), dspy.context(**settings):
            try:
                found = find_optimizer(name).improve(search)
            except Halt as stopped:
                halt = stopped
        assert clean_state(student) == before
        spent = Counter(journal.spent("run").by_phase)
    finally:
        journal.close()
    return Done(
        None if found is None else program_hash(found),
        table_of(found),
        model.attempts,
        model.most_in_flight,
        spent,
        tracker.best(),
        halt,
        rollouts[0],
        line.traffic.from_journal,
    )


def stock(name: str, folder: Path, model: ScriptedModel, effort: Effort, *, seed: int = 0) -> Done:
    """The same search by DSPy alone: its classes, its `LM`, its cache.

    MIPROv2 and the random search are called as a user of DSPy would; of the others, whose settings are not at
    issue, our translation is run on DSPy's LM, where nothing of ours is between it and the model.
    """
    dspy.configure_cache(disk_cache_dir=str(folder))
    lm = dspy.LM("scripted/hash", engine=model)
    train, validation = tasks(0, 30), tasks(1000, 20)
    demos = {
        "max_bootstrapped_demos": effort.max_bootstrapped_demos,
        "max_labeled_demos": effort.max_labeled_demos,
        "metric_threshold": THRESHOLD,
    }
    with quiet(), dspy.context(lm=lm, max_errors=10**9, **SPARING):
        if name == "miprov2":
            mipro = dspy.MIPROv2(plain, auto=effort.auto, num_threads=effort.num_threads, **demos)
            found = mipro.compile(TwoSteps(), trainset=train, valset=validation, seed=seed + 1)
        elif name == "bootstrap_random_search":
            random.Random(seed).shuffle(train)
            search = dspy.BootstrapFewShotWithRandomSearch(
                plain, num_candidate_programs=effort.trials, num_threads=effort.num_threads, **demos
            )
            found = search.compile(TwoSteps(), trainset=train, valset=validation)
        else:
            lms = dict.fromkeys(PHASES, lm)
            metric = adapt_metric(right_six_times_of_ten)
            found = find_optimizer(name).improve(
                Search(TwoSteps(), train, validation, metric, lms, effort, seed, THRESHOLD, lambda: None)
            )
    return Done(program_hash(found), table_of(found), model.attempts, model.most_in_flight, Counter())


@contextlib.contextmanager
def quiet():
    """What optimizers print is not of interest."""
    with (
        Path(os.devnull).open("w") as sink,
        contextlib.redirect_stdout(sink),
        contextlib.redirect_stderr(sink),
    ):
        yield
