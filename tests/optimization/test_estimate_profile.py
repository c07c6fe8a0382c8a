"""`--profile N`: a few examples with the configured model, before a run and for it."""

import pytest
from dspy.utils.exceptions import LMAuthError

from skill_fleet.config.load import load
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.foundation.errors import BudgetExhausted, ProviderError
from skill_fleet.llm.budget import Limits
from skill_fleet.llm.journal.journal import Journal
from skill_fleet.llm.testing import ScriptedModel
from skill_fleet.optimization.estimates.estimate import estimate
from skill_fleet.optimization.estimates.profile import load_profile, profile_price
from skill_fleet.optimization.planning.plan import make_plan
from skill_fleet.services.context import Context
from skill_fleet.services.optimization import (
    Prepared,
    estimate_optimization,
    prepare_optimization,
    profile_optimization,
    start_optimization,
)

MODEL = """
models:
  registry:
    dear: {model: openai/dear, max_tokens: 500, price: {input_per_million: 5, output_per_million: 20}}
    spare: {model: openai/spare, max_tokens: 500, price: {input_per_million: 1, output_per_million: 4}}
phases: {evaluation: dear, profiling: dear, optimization: dear, judge: dear}
"""
LATENCY = 0.02


class Provider:
    """A model behind a provider: slow, and with answers of its own length."""

    def __init__(self, **options):
        self.model = ScriptedModel(latency=LATENCY, answer=self.answer, **options)

    def answer(self, request):
        said = "\n".join(message.text or "" for message in request.messages)
        queue = "billing" if "invoice" in said.rsplit("[[ ## ticket ## ]]", 1)[-1] else "access"
        return f"[[ ## queue ## ]]\n{queue}\n\n[[ ## completed ## ]]{' ' * 400}"


@pytest.fixture
def context_of(place):
    """A workspace whose models are answered by a provider, and plans in it."""
    file = place.root / "config" / "config.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(MODEL)

    def make(provider, **options):
        place.loaded = load(place.root, environ={})
        context = Context(place.loaded, SYSTEM_CLOCK, lambda _spec, _environ: provider.model)
        return context, prepare_optimization(context, place.request(**options))

    return make


def booked(context, run_id):
    journal = Journal(context.workspace.ledger, context.workspace.responses)
    try:
        return journal.spent(run_id)
    finally:
        journal.close()


def test_it_is_booked_on_the_run_which_finds_its_calls_answered(context_of):
    context, before = context_of(Provider(), rounds=1, trials=1)
    prepared = profile_optimization(context, before, 5)
    assert booked(context, prepared.folder.run_id).calls == 5
    result = start_optimization(context, prepared, prepared.folder).result
    assert result.estimate["profile"] == estimate_optimization(prepared)["profile"]
    assert result.estimate["profile"]["examples"] == result.estimate["profile"]["calls"] == 5
    other, plain = context_of(Provider(), rounds=1, trials=1)
    again = start_optimization(other, plain, prepared_folder(other)).result
    assert again.calls["made"] == 0, "the same run, with everything in the journal"
    examples = sum(result.examples.values())
    assert result.calls["by_phase"]["evaluation"] >= examples
    assert result.calls["made"] == booked(context, result.run_id).calls


def prepared_folder(context):
    from skill_fleet.optimization.records.runs import new_run

    return new_run(context.workspace.runs, context.clock)


def test_it_narrows_tokens_dollars_and_minutes(context_of):
    context, before = context_of(Provider())
    wide = estimate_optimization(before)
    assert wide["profile"] is None
    assert "simulator" in wide["sized_by"]
    prepared = profile_optimization(context, before, 6)
    found = estimate_optimization(prepared)
    assert found["sized_by"] == "6 training examples with dear"
    for measure in ("tokens", "usd"):
        assert ratio(found[measure]) < ratio(wide[measure]), measure
    assert ratio(found["minutes"]) < 0.75 * ratio(wide["minutes"])
    assert found["tokens"][0] > wide["tokens"][0], "and moves them"
    per_call = prepared.profile.output_tokens
    assert per_call > 80, "the answers of this model are long"
    took = found["profile"]
    assert took["usd"] > 0
    assert took["seconds"] >= LATENCY
    assert load_profile(prepared.folder) == prepared.profile
    seconds = prepared.profile.seconds_a_call
    assert seconds >= LATENCY


def ratio(ends):
    return ends[1] / ends[0]


def test_a_model_that_was_not_profiled_stays_as_wide(context_of):
    context, before = context_of(Provider(), models={"optimization": "spare"})
    wide = estimate_optimization(before)["by_phase"]["optimization"]
    prepared = profile_optimization(context, before, 4)
    found = estimate_optimization(prepared)["by_phase"]["optimization"]
    assert ratio(found["minutes"]) == pytest.approx(ratio(wide["minutes"]), rel=0.3)


def test_it_says_what_it_will_take(context_of):
    _, before = context_of(Provider())
    price = profile_price(before.plan, 10_000)
    assert price["examples"] == len(before.plan.split.train)
    low, high = profile_price(before.plan, 4)["calls"]
    assert low <= 4 <= high
    assert 0 < profile_price(before.plan, 4)["usd"][0] < price["usd"][0]


def test_what_the_journal_has_is_not_paid_for_again(context_of):
    context, before = context_of(Provider())
    profile_optimization(context, before, 4)
    again = profile_optimization(context, before, 4).profile
    assert (again.examples, again.calls, again.tokens, again.usd) == (4, 0, 0, 0.0)
    assert again.seconds_a_call is None
    assert estimate(before.plan)["calls"][0] > 0


def test_a_cap_holds_for_it(context_of):
    context, before = context_of(Provider(), limits=Limits(calls=3))
    with pytest.raises(BudgetExhausted):
        profile_optimization(context, before, 8)
    assert sum(booked(context, folder.name).calls for folder in context.workspace.runs.iterdir()) == 3


def test_a_provider_that_fails_ends_it(context_of):
    def refuse(_number, _request):
        raise LMAuthError("wrong key")

    context, before = context_of(Provider(fault=refuse))
    with pytest.raises(ProviderError) as caught:
        profile_optimization(context, before, 4)
    assert caught.value.exit_code == 6


def test_the_cap_of_the_run_counts_its_profile(context_of):
    context, before = context_of(Provider(), rounds=1, trials=1, limits=Limits(calls=30))
    prepared = profile_optimization(context, before, 5)
    result = start_optimization(context, prepared, prepared.folder).result
    assert result.status == "stopped"
    assert result.calls["made"] == 30
    assert isinstance(prepared, Prepared)
    assert make_plan(prepared.plan.request, context.loaded).split.digest == prepared.plan.split.digest
