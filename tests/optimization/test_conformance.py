"""What every optimizer promises, asked of each one that is registered.

A search is run as a run of the product runs it, on the ticket program and the offline model: journal, budget
and tracker are the real ones.
"""

import functools
import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import dspy
import pytest

from skill_fleet.core.programs.catalog import clean_state, program_hash
from skill_fleet.evaluation.measurement import identity_of
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.llm.budget import Account, Limits
from skill_fleet.llm.call_context import current_call
from skill_fleet.llm.engine import Retry
from skill_fleet.llm.halt import Halt
from skill_fleet.llm.models import Connections, inner_of
from skill_fleet.llm.testing import ScriptedModel, request_text
from skill_fleet.optimization.estimate import effort_of, size_of_run
from skill_fleet.optimization.events import EventLog
from skill_fleet.optimization.optimizer import Sizes
from skill_fleet.optimization.plan import make_plan
from skill_fleet.optimization.registry import builtin_optimizers, find_optimizer
from skill_fleet.optimization.runs import new_run
from skill_fleet.optimization.search import Search, Tracker, focused, unfocused
from skill_fleet.optimization.session import Control, open_session, quiet
from skill_fleet.optimization.stages import SPARING, measure_baseline, measured

NAMES = tuple(builtin_optimizers())
SMALL = {"gepa": 4, "miprov2": 4, "bootstrap_random_search": 3, "copro": 1}
"""`--trials` of a small search; 2 where nothing is said."""
BLIND = ("copro",)
"""Their proposals see neither examples nor words, and the offline model knows nothing of its own."""


@dataclass
class Searched:
    """One search in one process.

    Attributes:
        student: What it was given.
        before: The student's state beforehand.
        found: The program it returned, or None when it was stopped.
        halt: What stopped it, or None.
        made: Calls it paid for, by phase.
        answered: Calls answered from the journal.
        best_seen: State of the best program the tracker saw.
        plan: Of the run it is part of.
        gain: Mean on the validation set, minus the student's.
    """

    student: dspy.Module
    before: dict[str, Any]
    found: dspy.Module | None
    halt: Halt | None
    made: Counter[str]
    answered: int
    best_seen: dict[str, Any] | None
    plan: Any
    gain: float | None

    @property
    def calls(self) -> int:
        return self.made.total()


def searched(place, name, *, threads=8, seed=1, cap=None, wrap=lambda inner: inner, **options):
    """One search from the baseline, at most `cap` calls of its own, with what `wrap` makes of the model."""
    request = place.request(name, trials=SMALL.get(name, 2), num_threads=threads, rounds=1, **options)
    plan = make_plan(request, place.loaded)
    folder = new_run(place.loaded.workspace.runs, SYSTEM_CLOCK)
    folder.path.mkdir(parents=True, exist_ok=True)
    log = EventLog(folder.events, SYSTEM_CLOCK)
    connections = Connections.of({}, lambda spec, environ: wrap(inner_of(spec, environ)))
    services = {"control": Control(), "connections": connections, "retry": Retry()}
    session = open_session(plan, folder, place.loaded, log, clock=SYSTEM_CLOCK, **services)
    try:
        baseline = measure_baseline(session)
        spent = _by_phase(session)
        answered = session.line.traffic.from_journal
        if cap is not None:
            session.account = Account(Limits(calls=cap), SYSTEM_CLOCK)
        gate = session.gate()
        lms = session.lms(gate, "halt")
        tracker = Tracker([identity_of(example)[0] for example in baseline.validation])
        halt = found = None
        with focused(baseline.program, plan.request.modules) as student:
            before = clean_state(student)
            search = Search(
                student,
                baseline.train,
                baseline.validation,
                plan.metric,
                lms,
                effort_of(plan),
                seed,
                baseline.demo_threshold,
                lambda: None,
            )
            settings = {"lm": lms["evaluation"], "callbacks": [tracker], **SPARING, "max_errors": 10**9}
            with quiet(folder), dspy.context(**settings):
                try:
                    found = plan.optimizer.improve(search)
                except Halt as stopped:
                    halt = stopped
                except Exception:
                    if gate.closed is None:
                        raise
                    halt = gate.closed
            session.drain()
        made = _by_phase(session) - spent
        answered = session.line.traffic.from_journal - answered
        gain = None
        if found is not None and halt is None and cap is None:
            mean = measured(session, found, baseline.validation, session.gate(), "validation").mean
            gain = mean - baseline.measured.mean
        return Searched(student, before, found, halt, made, answered, tracker.best(), plan, gain)
    finally:
        session.drain()
        session.line.journal.close()


def _by_phase(session) -> Counter[str]:
    return Counter(session.line.journal.spent(session.folder.run_id).by_phase)


@pytest.fixture(scope="module")
def whole(kept_place):
    """The uninterrupted search of an optimizer, at 8 threads."""
    return functools.cache(lambda name: searched(kept_place(name), name))


@pytest.mark.parametrize("name", NAMES)
def test_it_changes_what_it_says_and_leaves_the_student_alone(whole, name):
    done = whole(name)
    info = find_optimizer(name).info
    assert done.halt is None
    assert done.found is not done.student
    assert clean_state(done.student) == done.before
    assert clean_state(done.plan.entry.build()) == done.before, "nor the signature that all programs share"
    changed = set()
    for (_, old), (_, new) in zip(
        done.student.named_predictors(), done.found.named_predictors(), strict=True
    ):
        changed |= {"demos"} if new.demos != old.demos else set()
        changed |= {"instructions"} if new.signature.instructions != old.signature.instructions else set()
    assert changed <= set(info.changes)
    assert changed, "at least one proposal was accepted"
    assert (done.made["optimization"] > 0) == ("instructions" in info.changes), "who proposes is asked to"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in BLIND])
def test_it_gains_on_the_offline_model(whole, name):
    assert whole(name).gain > 0


@pytest.mark.parametrize("name", BLIND)
def test_it_gains_nothing_where_a_gain_would_be_made_up(whole, name):
    assert whole(name).gain == 0


@pytest.mark.parametrize("name", BLIND)
def test_it_takes_the_proposal_that_is_better(places, name):
    import triage

    advice = " ".join(
        f"If the ticket mentions '{word}', answer {queue}."
        for queue, words in triage.WORDS.items()
        for word in words[:2]
    )
    done = searched(places("proposing"), name, wrap=lambda inner: Proposer(inner, advice))
    assert done.gain > 0
    assert [p.signature.instructions for _, p in done.found.named_predictors()] == [advice]
    assert done.best_seen is not None
    assert done.best_seen["triage"]["signature"]["instructions"] == advice


class Proposer:
    """A model that is asked for several proposals and makes a good one in third place."""

    def __init__(self, inner, advice):
        self.inner = inner
        self.advice = advice

    def complete(self, request):
        if "proposed_instruction" not in request_text(request):
            return self.inner.complete(request)
        said = self.advice if current_call().candidate == 2 else "Answer."
        fields = {"proposed_instruction": said, "proposed_prefix_for_output_field": "Queue:"}
        text = "".join(f"[[ ## {field} ## ]]\n{value}\n\n" for field, value in fields.items())
        return ScriptedModel(answer=lambda _request: text + "[[ ## completed ## ]]").complete(request)

    async def acomplete(self, request):
        return self.complete(request)


@pytest.mark.parametrize("name", NAMES)
def test_what_it_returns_is_savable_as_json(whole, name):
    done = whole(name)
    text = json.dumps(clean_state(done.found))
    loaded = done.plan.entry.build()
    loaded.load_state(json.loads(text))
    assert program_hash(loaded) == program_hash(done.found)


@pytest.mark.parametrize("name", NAMES)
def test_only_the_named_predictors_change(places, name):
    done = searched(places("focused"), name, program="two_steps:TwoSteps", modules=("route",))
    found = unfocused(done.found, type(done.plan.entry.build()))
    fresh = clean_state(done.plan.entry.build())
    state = clean_state(found)
    assert state.keys() == fresh.keys()
    assert {key for key in state if state[key] != fresh[key]} == {"route"}


@pytest.mark.parametrize("name", NAMES)
def test_threads_decide_nothing_and_a_replay_costs_nothing(kept_place, whole, places, name):
    done = whole(name)
    single = searched(places("single"), name, threads=1)
    assert program_hash(single.found) == program_hash(done.found)
    assert single.made == done.made
    again = searched(kept_place(name), name)
    assert again.calls == 0
    assert program_hash(again.found) == program_hash(done.found)
    other = searched(kept_place(name), name, seed=0)
    assert other.calls > 0, "the seed reaches the optimizer"


@pytest.mark.parametrize("name", NAMES)
def test_a_cap_is_exact_and_what_was_stopped_ends_identical(whole, places, name):
    done = whole(name)
    place = places("capped")
    cap = done.calls // 2
    stopped = searched(place, name, cap=cap)
    assert stopped.halt is not None
    assert stopped.halt.cause == "budget"
    assert stopped.calls == cap
    assert clean_state(stopped.student) == stopped.before
    if stopped.best_seen is not None:
        loaded = stopped.plan.entry.build()
        loaded.load_state(json.loads(json.dumps(stopped.best_seen)))
        assert clean_state(loaded) == stopped.best_seen
    resumed = searched(place, name)
    assert program_hash(resumed.found) == program_hash(done.found)
    assert stopped.calls + resumed.calls == done.calls, "nothing is paid for twice"


@pytest.mark.parametrize("name", NAMES)
def test_calls_stay_within_its_own_estimate(whole, name):
    done = whole(name)
    plan = done.plan
    sizes = Sizes(
        train=len(plan.split.train),
        validation=len(plan.split.validation),
        predictors=len(done.student.named_predictors()),
        calls_per_run=size_of_run(plan).calls,
        effort=effort_of(plan),
    )
    estimated = find_optimizer(name).estimate_calls(sizes)
    assert set(done.made) <= set(estimated)
    # The search finds what the baseline measured in the journal, so only the high end is a promise here.
    for phase, calls in done.made.items():
        assert calls <= estimated[phase].high, phase


@pytest.mark.parametrize("name", NAMES)
def test_further_effort_is_not_cheaper(whole, name):
    plan = whole(name).plan
    optimizer = find_optimizer(name)
    effort = replace(effort_of(plan), auto=None, trials=1)
    sizes = Sizes(20, 15, 2, size_of_run(plan).calls, effort)
    highs = [
        sum(each.high for each in optimizer.estimate_calls(sized).values())
        for sized in (
            sizes,
            replace(sizes, effort=replace(effort, trials=6)),
            *(replace(sizes, effort=replace(effort, auto=auto, trials=None)) for auto in ("light", "heavy")),
        )
    ]
    assert highs[0] <= highs[1]
    assert highs[2] <= highs[3]
    names = {parameter.name for parameter in optimizer.info.parameters}
    assert {"auto", "trials"} <= names


def test_the_searches_of_this_suite_are_real(whole):
    """A guard on the harness: what it runs is paid for, by phase, and seen by the tracker."""
    done = whole("miprov2")
    assert done.made.keys() == {"profiling", "evaluation", "optimization"}
    assert done.best_seen == clean_state(done.found)
