"""A cap on calls is exact through DSPy's own optimizers, which swallow every ordinary exception."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import dspy
import pytest

from skill_fleet.llm.budget import Limits
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.testing import ScriptedModel

DATA = [dspy.Example(question=f"question {n}", answer=f"gold {n}").with_inputs("question") for n in range(48)]
TRAIN, VALIDATION = DATA[:6], DATA[6:12]
# At what call each search is stopped: while it bootstraps or proposes, and while it evaluates.
CAPS = (5, 37)


def metric(gold: Any, pred: Any, *_: Any) -> float:
    return int(pred.answer[-1], 36) / 35


def feedback(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
    return dspy.Prediction(score=metric(gold, pred), feedback="Say more.")


def miprov2(program: Any, lm: Any, threads: int) -> Any:
    optimizer = dspy.MIPROv2(
        metric=metric,
        auto=None,
        num_candidates=3,
        num_threads=threads,
        prompt_model=lm,
        task_model=lm,
        verbose=False,
    )
    return optimizer.compile(program, trainset=TRAIN, valset=VALIDATION, num_trials=4, minibatch=False)


def gepa(program: Any, lm: Any, threads: int) -> Any:
    optimizer = dspy.GEPA(metric=feedback, max_metric_calls=60, reflection_lm=lm, num_threads=threads)
    return optimizer.compile(program, trainset=TRAIN, valset=VALIDATION)


def bootstrap(program: Any, lm: Any, threads: int) -> Any:
    optimizer = dspy.BootstrapFewShotWithRandomSearch(
        metric=metric, metric_threshold=0.3, num_candidate_programs=4, num_threads=threads
    )
    return optimizer.compile(program, trainset=TRAIN, valset=VALIDATION)


def evaluate(program: Any, lm: Any, threads: int) -> Any:
    run = dspy.Evaluate(devset=DATA, metric=metric, num_threads=threads, display_progress=False)
    return run(program)


@pytest.fixture
def quiet() -> Any:
    levels = {name: logging.getLogger(name).level for name in ("dspy", "gepa", "optuna")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("quiet")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("search", [evaluate, miprov2, gepa, bootstrap], ids=lambda search: search.__name__)
def test_a_cap_on_calls_is_exact(rig: Any, search: Callable[..., Any], threads: int) -> None:
    for cap in CAPS:
        before = set(threading.enumerate())
        model = ScriptedModel(latency=0.001)
        made = rig(model, limits=Limits(calls=cap), run=f"capped at {cap}")
        program = dspy.ChainOfThought("question -> answer")
        program.predict.signature = program.predict.signature.with_instructions(f"Answer. ({cap})")
        with dspy.context(lm=made.lm), pytest.raises(Halt) as caught:
            search(program, made.lm, threads)
        assert caught.value.cause == "budget"
        _drained(threads, before)
        assert model.attempts == cap == made.spent.calls
        assert made.spent.lost == 0


def _drained(threads: int, before: set[threading.Thread]) -> None:
    """A stopped search leaves tasks queued in its executor; each meets the shut gate and ends."""
    until = time.monotonic() + 60
    while threads > 1 and time.monotonic() < until:
        begun = set(threading.enumerate()) - before
        if not any(thread.name.startswith("ThreadPoolExecutor") for thread in begun):
            return
        time.sleep(0.01)
