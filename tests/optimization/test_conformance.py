"""What every optimizer promises, asked of each one that is registered: `OptimizerConformance`, by name."""

from pathlib import Path

import pytest

from skill_fleet.llm.call_context import current_call
from skill_fleet.llm.testing import ScriptedModel, request_text
from skill_fleet.optimization.conformance import OptimizerConformance, tickets
from skill_fleet.optimization.conformance.bench import Case
from skill_fleet.optimization.registry import builtin_optimizers

KINDS = builtin_optimizers()
NAMES = tuple(KINDS)
SMALL = {"gepa": 4, "miprov2": 4, "bootstrap_random_search": 3, "copro": 1}
"""`--trials` of a small search; 2 where nothing is said."""
BLIND = tuple(
    name
    for name in NAMES
    if "instructions" in KINDS[name]().info.changes and not KINDS[name]().info.capabilities.learns
)
"""Their proposals see neither examples nor words, and the offline model knows nothing of its own."""


@pytest.fixture(scope="module")
def promise():
    """Asks the suite of an optimizer one of its questions; a suite's searches are made once."""
    suites = {}

    def ask(name, *questions):
        if name not in suites:
            body = {"optimizer": KINDS[name], "trials": SMALL.get(name, 2)}
            suites[name] = type(name, (OptimizerConformance,), body)
            suites[name].setup_class()
        suite = suites[name]()
        for question in questions:
            getattr(suite, question)()
        return suite.bench

    yield ask
    for suite in suites.values():
        suite.teardown_class()


@pytest.mark.parametrize("name", NAMES)
def test_it_changes_what_it_says_and_leaves_the_student_alone(promise, name):
    promise(
        name,
        "test_it_returns_a_new_program",
        "test_it_leaves_the_student_alone",
        "test_it_changes_what_it_declares",
    )


@pytest.mark.parametrize("name", NAMES)
def test_it_gains_on_the_offline_model(promise, name):
    promise(name, "test_it_finds_something_better")


@pytest.mark.parametrize("name", NAMES)
def test_the_best_so_far_is_known_from_outside(promise, name):
    promise(name, "test_the_tracker_sees_its_candidates")


@pytest.mark.parametrize("name", NAMES)
def test_each_phase_asks_its_own_model(promise, name):
    promise(name, "test_it_asks_the_models_of_its_phases")


@pytest.mark.parametrize("name", NAMES)
def test_what_it_returns_is_savable_as_json(promise, name):
    promise(name, "test_what_it_returns_survives_saving")


@pytest.mark.parametrize("name", NAMES)
def test_only_the_named_predictors_change(promise, name):
    promise(name, "test_only_the_named_predictors_change")


@pytest.mark.parametrize("name", NAMES)
def test_threads_decide_nothing_and_a_replay_costs_nothing(promise, name):
    promise(name, "test_threads_decide_nothing", "test_a_replay_costs_nothing", "test_the_seed_reaches_it")


@pytest.mark.parametrize("name", NAMES)
def test_a_cap_is_exact_and_what_was_stopped_ends_identical(promise, name):
    promise(name, "test_it_stops_on_halt", "test_a_cap_is_exact", "test_a_stopped_search_ends_identical")


@pytest.mark.parametrize("name", NAMES)
def test_calls_stay_within_its_own_estimate(promise, name):
    promise(name, "test_it_stays_within_its_estimate")


@pytest.mark.parametrize("name", NAMES)
def test_further_effort_is_not_cheaper(promise, name):
    promise(name, "test_further_effort_is_not_cheaper")


@pytest.mark.parametrize("name", BLIND)
def test_it_takes_the_proposal_that_is_better(promise, name):
    advice = " ".join(
        f"If the ticket mentions '{word}', answer {queue}."
        for queue, words in tickets.WORDS.items()
        for word in words[:2]
    )
    case = Case(measure=True, wrap=lambda inner: Proposer(inner, advice))
    done = promise(name).search("proposing", case)
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


def test_the_searches_of_this_suite_are_real(promise):
    """A guard on the harness: what it runs is paid for, by phase, and seen by the tracker."""
    done = promise("miprov2").whole
    assert done.made.keys() == {"profiling", "evaluation", "optimization"}
    assert done.best_seen is not None
    assert done.calls > 100


def test_no_promise_is_forgotten():
    """Every question of the suite is asked of every optimizer by a test above."""
    source = Path(__file__).read_text()
    promises = {name for name in dir(OptimizerConformance) if name.startswith("test_")}
    assert {name for name in promises if f'"{name}"' in source} == promises
