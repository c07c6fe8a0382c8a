"""Which optimizer: laws of the ladder, and what past runs may change of it."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.llm.budget import Limits
from skill_fleet.optimization.advice.experience import ENOUGH, Occasion, Past, past_runs
from skill_fleet.optimization.advice.recommend import Option, Situation, recommend
from skill_fleet.optimization.optimizer import Fit, OptimizerInfo
from skill_fleet.optimization.registry import builtin_optimizers

MEASURES = ("calls", "tokens", "usd", "minutes")
LADDER = sorted(
    (kind().info for kind in builtin_optimizers().values() if kind().info.fit.rung is not None),
    key=lambda info: info.fit.rung,
)
PRICES = {info.name: 10_000 // (2 * place + 1) for place, info in enumerate(LADDER)}


def options(scale=1.0, prices=PRICES):
    return [
        Option(
            info,
            {
                m: None
                if prices[info.name] is None
                else [prices[info.name] * scale / 3, prices[info.name] * scale]
                for m in MEASURES
            },
        )
        for info in LADDER
    ]


def past(name, runs, better, gain=0.1, ratio=1.0):
    return {name: Past(name, runs, better, gain, 100.0, 0.0, 1.0, runs, dict.fromkeys(MEASURES, ratio))}


ROOMY = Situation(train=60, words=True, answers=True, limits=Limits())
situations = st.builds(
    Situation,
    train=st.integers(1, 200),
    words=st.booleans(),
    answers=st.booleans(),
    limits=st.builds(
        Limits,
        usd=st.none() | st.floats(0, 20_000),
        calls=st.none() | st.integers(0, 20_000),
        tokens=st.none() | st.integers(0, 20_000),
        minutes=st.none() | st.floats(0, 20_000),
    ),
)
pasts = st.dictionaries(
    st.sampled_from([info.name for info in LADDER]), st.tuples(st.integers(1, 6), st.integers(0, 6))
).map(
    lambda found: {
        name: past(name, runs, min(better, runs), ratio=1 + better / 3)[name]
        for name, (runs, better) in found.items()
    }
)


def test_the_ladder_begins_with_gepa_then_miprov2():
    assert [info.name for info in LADDER[:2]] == ["gepa", "miprov2"]


def test_with_room_and_words_the_first_of_the_ladder():
    found = recommend(ROOMY, options(), {})
    assert (found.optimizer, found.rule) == ("gepa", "ladder")
    assert "60 training examples" in found.reason


def test_a_bare_number_is_nothing_for_gepa():
    found = recommend(replace(ROOMY, words=False), options(), {})
    assert (found.optimizer, found.rule) == ("miprov2", "no_words")


def test_few_examples_go_down_the_ladder():
    assert recommend(replace(ROOMY, train=4), options(), {}).optimizer == "bootstrap_few_shot"
    assert (
        recommend(replace(ROOMY, train=12, words=False), options(), {}).optimizer == "bootstrap_random_search"
    )


def test_a_cap_goes_down_the_ladder_and_names_the_price():
    found = recommend(replace(ROOMY, limits=Limits(calls=4000)), options(), {})
    assert (found.optimizer, found.rule) == ("miprov2", "too_dear")
    assert "10,000 calls" in found.reason
    assert "4,000 calls" in found.reason


def test_where_all_may_pass_the_cap_the_least_is_cut_short():
    least = min(PRICES.values())
    found = recommend(replace(ROOMY, limits=Limits(calls=least // 2)), options(), {})
    assert (found.optimizer, found.rule) == (LADDER[-1].name, "cut_short")


def test_where_nothing_fits_nothing_is_chosen():
    found = recommend(replace(ROOMY, limits=Limits(calls=1)), options(), {})
    assert (found.optimizer, found.rule) == (None, "nothing_fits")
    assert {one.code for one in found.options} == {"too_dear"}


def test_an_unknown_price_does_not_fit_a_cap_on_dollars():
    unknown = [Option(o.info, {**o.price, "usd": None}) for o in options()]
    found = recommend(replace(ROOMY, limits=Limits(usd=5.0)), unknown, {})
    assert found.optimizer is None
    assert {one.code for one in found.options} == {"price_unknown"}


def test_too_few_past_runs_decide_nothing():
    shown = {**past("gepa", ENOUGH - 1, 0, ratio=9.0), **past("miprov2", ENOUGH - 1, ENOUGH - 1)}
    assert recommend(ROOMY, options(), shown).optimizer == "gepa"
    assert recommend(ROOMY, options(), shown).options[0].learnt_from == 0


def test_what_never_helped_goes_last_and_what_did_comes_first():
    fruitless = recommend(ROOMY, options(), past("gepa", ENOUGH, 0))
    assert (fruitless.optimizer, fruitless.rule) == ("miprov2", "fruitless")
    proven = recommend(ROOMY, options(), past("bootstrap_random_search", ENOUGH, ENOUGH, gain=0.2))
    assert (proven.optimizer, proven.rule) == ("bootstrap_random_search", "proven")
    assert "+0.200" in proven.reason


def test_past_prices_put_the_estimate_right():
    found = recommend(
        replace(ROOMY, limits=Limits(calls=12_000)), options(), past("gepa", ENOUGH, 1, ratio=1.5)
    )
    assert found.optimizer == "miprov2"
    assert next(o for o in found.options if o.optimizer == "gepa").price["calls"][1] == pytest.approx(15_000)


@given(situations, pasts)
def test_what_fits_the_caps_is_chosen_before_what_may_pass_them(situation, shown):
    found = recommend(situation, options(), shown)
    by_name = {one.optimizer: one for one in found.options}
    fits = [one for one in found.options if one.code in {"chosen", "later"}]
    assert len(by_name) == len(LADDER)
    if found.rule in {"cut_short", "nothing_fits"}:
        assert all(one.code != "later" for one in found.options)
        return
    assert fits[0].optimizer == found.optimizer
    for measure in MEASURES:
        cap = getattr(situation.limits, measure)
        assert cap is None or by_name[found.optimizer].price[measure][1] <= cap


@given(situations, pasts)
def test_more_room_never_chooses_what_stood_later(situation, shown):
    before = recommend(situation, options(), shown)
    after = recommend(replace(situation, limits=Limits()), options(), shown)
    if before.rule in {"cut_short", "nothing_fits"}:
        return
    order = [one.optimizer for one in after.options]
    assert order.index(after.optimizer) <= order.index(before.optimizer)


@given(situations, pasts)
def test_words_never_turn_gepa_away(situation, shown):
    without = recommend(replace(situation, words=False), options(), shown)
    with_words = recommend(replace(situation, words=True), options(), shown)
    gepa = next(one for one in with_words.options if one.optimizer == "gepa")
    assert without.optimizer != "gepa"
    assert gepa.code != "no_words"


def test_what_is_not_on_the_ladder_is_never_chosen():
    info = OptimizerInfo("own", "", (), "", "", (), fit=Fit())
    with pytest.raises(ValueError, match="no optimizer"):
        recommend(ROOMY, [Option(info, dict.fromkeys(MEASURES, (1, 1)))], {})


def leave_run(runs, name, *, optimizer="gepa", verdict="better", made=100, identity=None, **changes):
    folder = runs / name
    folder.mkdir(parents=True)
    result = {
        "status": "succeeded",
        "optimizer": optimizer,
        "model": "offline",
        "verdict": verdict,
        "baseline": {"test": 0.5},
        "optimized": {"test": 0.6},
        "calls": {"made": made},
        "tokens": {"input": 900, "output": 100},
        "usd": None,
        "seconds": 60.0,
        "estimate": {"calls": [50, 150], "tokens": [500, 1500], "usd": None, "minutes": [0.5, 1.5]},
        **changes,
    }
    (folder / "request.json").write_text(json.dumps({"program": "P", "metric": None}))
    (folder / "identity.json").write_text(json.dumps(identity or {"run": name}))
    (folder / "result.json").write_text(json.dumps(result))
    return folder


HERE = Occasion("P", None, "offline")


def test_past_runs_are_medians_by_optimizer(tmp_path):
    for number, made in enumerate((100, 200, 900)):
        leave_run(tmp_path, f"run{number}", made=made, verdict="better" if number else "not_shown")
    found, damaged = past_runs(tmp_path, HERE)
    assert damaged == []
    gepa = found["gepa"]
    assert (gepa.runs, gepa.better, gepa.calls, gepa.usd) == (3, 2, 200, None)
    assert gepa.gain == pytest.approx(0.1)
    assert gepa.ratios == {"calls": 2.0, "tokens": 1.0, "minutes": 1.0}


def test_runs_whose_answers_were_paid_before_teach_nothing_of_prices(tmp_path):
    for number, reused in enumerate((0, 10, 12, 400)):
        leave_run(tmp_path, f"run{number}", calls={"made": 100, "reused": reused})
    gepa = past_runs(tmp_path, HERE)[0]["gepa"]
    assert (gepa.runs, gepa.priced, gepa.ratios["calls"]) == (4, 2, 1.0)
    option = Option(LADDER[0], dict.fromkeys(MEASURES, (1.0, 2.0)))
    cheap = replace(gepa, ratios=dict.fromkeys(MEASURES, 0.1))
    for priced, learnt in ((ENOUGH - 1, 0), (ENOUGH, ENOUGH)):
        found = recommend(ROOMY, [option], {LADDER[0].name: replace(cheap, priced=priced)})
        assert found.options[0].learnt_from == learnt


def test_a_repetition_teaches_nothing_and_neither_does_another_program_or_model(tmp_path):
    leave_run(tmp_path, "run1", identity={"same": 1})
    leave_run(tmp_path, "run2", identity={"same": 1}, made=0)
    leave_run(tmp_path, "run3", status="stopped")
    leave_run(tmp_path, "run4", model="other")
    other = leave_run(tmp_path, "run5")
    (other / "request.json").write_text(json.dumps({"program": "Q", "metric": None}))
    found, _ = past_runs(tmp_path, HERE)
    assert (found["gepa"].runs, found["gepa"].calls) == (1, 100)


@pytest.mark.parametrize("file", ["request.json", "result.json", "identity.json"])
@pytest.mark.parametrize("text", ["{", "[]", "{}", "null"])
def test_a_damaged_run_is_named_and_counts_for_nothing(tmp_path, file, text):
    leave_run(tmp_path, "good")
    bad = leave_run(tmp_path, "wrong")
    (bad / file).write_text(text)
    found, damaged = past_runs(tmp_path, HERE)
    assert found["gepa"].runs in {1, 2}
    if file != "identity.json":
        assert (damaged == ["wrong"]) or found["gepa"].runs == 1


def test_no_run_at_all(tmp_path):
    assert past_runs(tmp_path / "none", HERE) == ({}, [])
