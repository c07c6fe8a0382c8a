"""What a choice among many is said to be worth, and which of equally good programs is taken."""

import json

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.core.programs.catalog import program_hash
from skill_fleet.evaluation.measurement import Measurement, Outcome
from skill_fleet.evaluation.score import NoScore, Score
from skill_fleet.evaluation.usage import AnswerUsage, Tokens
from skill_fleet.foundation.clock import SYSTEM_CLOCK
from skill_fleet.optimization.choosing import best_of
from skill_fleet.optimization.ending.choice_words import choice_in_words
from skill_fleet.optimization.interval import Interval
from skill_fleet.optimization.optimizer import OptimizerInfo
from skill_fleet.optimization.planning.plan import make_plan
from skill_fleet.optimization.records.runs import find_run, new_run
from skill_fleet.optimization.searching import rounds
from skill_fleet.optimization.selection import Candidate, cheapest_of_equals, gains, points

PRICES = {"a/b": (0.0, 0.0)}


def candidate(name, scores, tokens=100, number=1, calls=1):
    """A program with such scores, one group an example, and so many tokens an answer."""
    usage = AnswerUsage(calls, {"a/b": Tokens(tokens, 0)})
    outcomes = (Outcome(f"q{n}", f"g{n}", Score(score), None, 0.0, usage) for n, score in enumerate(scores))
    return Candidate(dspy.Module(), name, number, Measurement(tuple(outcomes)))


PLAIN = candidate("plain", [0.2] * 10, 50, number=0)
BEST = candidate("best", [0.9] * 10, 500)


def chosen(*others, best=BEST, prices=PRICES):
    return cheapest_of_equals(best, [PLAIN, best, *others], prices).hash


def test_of_about_equally_good_programs_the_cheapest_is_taken():
    near = candidate("near", [0.89] * 5 + [0.9] * 5, 200)
    nearer = candidate("nearer", [0.9] * 10, 300)
    assert chosen(near, nearer) == "near"
    assert chosen(nearer) == "nearer"
    assert chosen() == "best"
    assert chosen(candidate("dear", [0.9] * 10, 501)) == "best"


def test_not_shown_to_differ_is_not_equal():
    wild = candidate("wild", [0.0, 1.0] * 5, 10)
    assert chosen(wild) == "best", "ten examples show nothing of it, and it is far below"


def test_within_the_margin_and_yet_shown_to_be_lower_is_not_equal():
    scores = [0.5 + 0.01 * n for n in range(40)]
    best = candidate("best", [score + 0.015 for score in scores], 500)
    assert chosen(candidate("lower", scores, 10), best=best) == "best"


def test_a_program_no_better_than_the_plain_one_is_never_the_choice():
    best = candidate("best", [0.21] * 10, 500)
    assert chosen(candidate("same", [0.2] * 10, 10), best=best) == "best"


def test_calls_decide_where_tokens_are_equal_and_dollars_before_both():
    assert chosen(
        candidate("fewer", [0.9] * 10, 500, calls=1), best=candidate("b", [0.9] * 10, 500, calls=3)
    ) == ("fewer")
    short = Candidate(
        dspy.Module(), "short", 1, candidate("x", [0.9] * 10, 100).measured
    )  # fewer tokens, and of the dearer model
    outcomes = tuple(
        Outcome(o.item_id, o.group, o.score, None, 0.0, AnswerUsage(1, {"c/d": Tokens(100, 0)}))
        for o in short.measured.outcomes
    )
    dear = Candidate(dspy.Module(), "dear", 1, Measurement(outcomes))
    assert chosen(dear, prices={"a/b": (1e-6, 0.0), "c/d": (1e-3, 0.0)}) == "best"
    assert chosen(dear, prices={"a/b": (1e-6, 0.0), "c/d": None}) == "dear", "unknown: by tokens"


def test_the_front_is_marked_best_first():
    entries = points(
        [PLAIN, candidate("mid", [0.5] * 10, 400), BEST, candidate("bad", [0.4] * 10, 450)], "best", PRICES
    )
    assert [(e["program_hash"], e["on_front"], e["chosen"]) for e in entries] == [
        ("best", True, True),
        ("mid", True, False),
        ("bad", False, False),
        ("plain", True, False),
    ]
    assert entries[0]["tokens_per_answer"] == 500
    assert entries[0]["usd_per_answer"] == 0.0


def without_scores(name, number=1):
    """A program whose every answer was withheld."""
    lost = NoScore("content_filter", "It was withheld.")
    outcomes = (Outcome(f"q{n}", f"g{n}", None, lost, 0.0) for n in range(10))
    return Candidate(dspy.Module(), name, number, Measurement(tuple(outcomes)))


def test_a_program_without_a_score_has_no_quality_rather_than_none_of_it():
    entries = points([without_scores("lost"), candidate("bad", [0.0] * 10, 50), BEST], "best", PRICES)
    assert [(e["program_hash"], e["quality"], e["on_front"]) for e in entries] == [
        ("best", pytest.approx(0.9), True),
        ("bad", 0.0, True),
        ("lost", None, False),
    ]
    assert chosen(without_scores("lost")) == "best"
    near = candidate("near", [0.89] * 5 + [0.9] * 5, 200)
    pool = [without_scores("plain", number=0), BEST, near]
    assert cheapest_of_equals(BEST, pool, PRICES).hash == "near"


def test_of_equally_good_programs_one_of_unknown_cost_is_named_last():
    outcomes = (Outcome(f"q{n}", f"g{n}", Score(0.9), None, 0.0) for n in range(10))
    unknown = Candidate(dspy.Module(), "unknown", 1, Measurement(tuple(outcomes)))
    entries = points([unknown, BEST], "best", PRICES)
    assert [entry["program_hash"] for entry in entries] == ["best", "unknown"]


def test_optimism_is_what_the_choice_flattered():
    found = gains([0.2, 0.41], [0.25, 0.37], 14)
    assert found == {"validation_gain": 0.21, "test_gain": 0.12, "optimism": 0.09, "candidates": 14}
    assert choice_in_words(found) == (
        "On the validation set it gained +0.210, on unseen examples +0.120. "
        "Choosing among 14 candidates flatters."
    )


def test_without_a_test_the_gain_is_said_not_to_be_corrected():
    found = gains([0.2, 0.41], [None, None], 14)
    assert (found["test_gain"], found["optimism"]) == (None, None)
    assert "is not corrected: it was chosen by that set among 14 candidates" in choice_in_words(found)


@pytest.mark.parametrize(
    "found",
    [
        None,
        gains([0.2, 0.2], [0.2, 0.2], 3),
        gains([0.2, 0.4], [0.2, 0.38], 3),
        gains([0.2, 0.4], [0.2, 0.5], 3),
    ],
    ids=["nothing", "no gain", "little", "none"],
)
def test_where_nobody_is_flattered_nothing_is_said(found):
    assert choice_in_words(found) is None


@given(*[st.one_of(st.none(), st.floats(0, 1))] * 4, st.integers(0, 50))
def test_gains_are_differences_or_unknown(a, b, c, d, candidates):
    found = gains([a, b], [c, d], candidates)
    if a is None or b is None or not candidates:
        assert found is None
        return
    assert found["validation_gain"] == pytest.approx(b - a)
    assert (found["test_gain"] is None) == (c is None or d is None)
    if found["test_gain"] is not None:
        assert found["optimism"] == pytest.approx((b - a) - (d - c))


PATIENCE = " Take your time."


class TwoEquals:
    """Measures two instructions that say the same and score the same; the longer comes first."""

    info = OptimizerInfo("two_equals", "Two.", ("instructions",), "Nothing.", "Little.", ())

    def estimate_calls(self, sizes):
        runs = Interval(sizes.validation, 2 * sizes.validation)
        return {"evaluation": runs.times(sizes.calls_per_run)}

    def improve(self, search):
        import triage

        advice = " ".join(
            f"If the ticket mentions '{word}', answer {queue}."
            for queue, words in triage.WORDS.items()
            for word in words
        )
        found = []
        for times in (7, 6):
            program = search.student.deepcopy()
            for _, predictor in program.named_predictors():
                predictor.signature = predictor.signature.with_instructions(f"{advice}{PATIENCE * times}")
            found.append(program)
        return best_of(found, search)


def optimized(place, **options):
    plan = make_plan(place.request("two_equals", **options), place.loaded, {"two_equals": TwoEquals})
    return place._run(plan, new_run(place.loaded.workspace.runs, SYSTEM_CLOCK), None, None, None).result


def instruction(place, result):
    state = json.loads(find_run(place.loaded.workspace.runs, result.run_id).candidate.read_text())
    return state["triage"]["signature"]["instructions"]


def test_prefer_cheaper_takes_the_shorter_prompt_and_tests_that_one(places):
    place = places("quality")
    quality = optimized(place, rounds=1)
    assert instruction(place, quality).count(PATIENCE) == 7
    place = places("cheaper")
    cheaper = optimized(place, rounds=1, prefer="cheaper")
    assert instruction(place, cheaper).count(PATIENCE) == 6
    assert cheaper.optimized["validation"] == quality.optimized["validation"] == 1.0
    assert cheaper.verdict == quality.verdict == "better"
    before, after = (r.cost_per_answer["optimized"]["tokens"] for r in (quality, cheaper))
    assert after < before
    assert cheaper.cost_per_answer["baseline"] == quality.cost_per_answer["baseline"]
    found = [(e["chosen"], e["on_front"]) for e in cheaper.pareto if e["round"] == 1]
    assert found == [(True, True), (False, False)]
    assert cheaper.instructions["triage"] == instruction(place, cheaper)


def test_what_was_chosen_among_is_measured_without_a_call(places, monkeypatch):
    place = places("pool")
    result = place.optimize(place.request("bootstrap_random_search", trials=3)).result
    per_round = [line["candidates"] for line in result.rounds]
    assert result.selection["candidates"] == sum(per_round) > len(per_round)
    assert len(result.pareto) == 1 + sum(per_round)
    assert sum(entry["chosen"] for entry in result.pareto) == 1
    best = next(entry for entry in result.pareto if entry["chosen"])
    assert best["program_hash"] == result.program_hash
    assert best["quality"] == result.optimized["validation"] == max(e["quality"] for e in result.pareto)
    assert best["tokens_per_answer"] == result.cost_per_answer["optimized"]["tokens"]

    monkeypatch.setattr(rounds, "_MOST_CANDIDATES", 0)
    alone = places("alone")
    without = alone.optimize(alone.request("bootstrap_random_search", trials=3)).result
    assert without.calls["made"] == result.calls["made"], "their answers were in the journal"
    assert without.selection == result.selection, "what is not measured again is counted all the same"
    assert len(without.pareto) < len(result.pareto)


def test_the_cost_of_an_answer_is_that_of_its_calls_also_when_the_journal_answers(places):
    place = places("twice")
    first = place.optimize(place.request("labeled_few_shot", trials=2, rounds=1)).result
    again = place.optimize(place.request("labeled_few_shot", trials=2, rounds=1, output="again.json")).result
    assert again.calls["made"] == 0
    assert again.cost_per_answer == first.cost_per_answer
    assert again.pareto == first.pareto
    assert first.cost_per_answer["baseline"]["tokens"] > 0
    assert first.cost_per_answer["optimized"]["tokens"] > first.cost_per_answer["baseline"]["tokens"]


def test_a_stopped_search_keeps_what_it_chose_among(places, whole_of):
    from skill_fleet.llm.budget import Limits

    whole = whole_of("bootstrap_random_search", trials=3, rounds=1)
    place = places("capped")
    cap = int(whole.calls["made"] * 0.75)
    request = place.request("bootstrap_random_search", trials=3, rounds=1, limits=Limits(calls=cap))
    stopped = place.optimize(request).result
    assert stopped.status == "stopped"
    assert stopped.selection["candidates"] >= 1
    known = {entry["program_hash"] for entry in whole.pareto}
    assert {entry["program_hash"] for entry in stopped.pareto} <= known
    assert program_hash(make_plan(request, place.loaded).entry.build()) in known
