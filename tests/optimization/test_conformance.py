"""What every optimizer promises, asked of each one that is registered: `OptimizerConformance`, by name."""

import contextlib

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


PROMISES = tuple(name for name in dir(OptimizerConformance) if name.startswith("test_"))


@contextlib.contextmanager
def suite_of(name):
    """The suite of an optimizer; its searches are made once, and go with it."""
    suite = type(name, (OptimizerConformance,), {"optimizer": KINDS[name], "trials": SMALL.get(name, 2)})
    suite.setup_class()
    try:
        yield suite()
    finally:
        suite.teardown_class()


@pytest.mark.timeout(600)  # a dozen searches; on a busy machine they take their time
@pytest.mark.parametrize("name", NAMES)
def test_every_promise_is_kept(name, subtests):
    """All of them in one test, as several look at one search."""
    with suite_of(name) as suite:
        for promise in PROMISES:
            with subtests.test(promise):
                getattr(suite, promise)()
        if name == "miprov2":
            with subtests.test("the searches are real"):
                searches_are_real(suite.bench.whole)


def searches_are_real(done):
    """A guard on the harness: what it runs is paid for, by phase, and seen by the tracker."""
    assert done.made.keys() == {"profiling", "evaluation", "optimization"}
    assert done.best_seen is not None
    assert done.calls > 100


@pytest.mark.parametrize("name", BLIND)
def test_it_takes_the_proposal_that_is_better(name):
    advice = " ".join(
        f"If the ticket mentions '{word}', answer {queue}."
        for queue, words in tickets.WORDS.items()
        for word in words[:2]
    )
    case = Case(measure=True, wrap=lambda inner: Proposer(inner, advice))
    with suite_of(name) as suite:
        done = suite.bench.search("proposing", case)
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
