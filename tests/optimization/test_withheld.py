"""Proposals that are withheld for good cost the search these proposals; nothing else, and no run."""

import json
from dataclasses import replace

import dspy
import pytest
from withholding import every, share_of, wrapping

from skill_fleet.config.load import load
from skill_fleet.foundation.errors import DataError
from skill_fleet.llm.call_context import current_subject
from skill_fleet.optimization.attribution import Attribution
from skill_fleet.optimization.optimizers import miprov2
from skill_fleet.optimization.records.events import read_events
from skill_fleet.optimization.records.runs import find_run
from skill_fleet.optimization.registry import builtin_optimizers
from skill_fleet.optimization.session import Control

PLAIN = "Choose the queue of a support ticket."
INDUCED = "Please adhere to the following rules when making your prediction:"
"""DSPy's own words before rules."""
TRIALS = {"gepa": 3, "miprov2": 4, "copro": 2, "infer_rules": 4, "better_together": 3, "simba": 6}
"""`--trials` of a small search in which proposals are made; 2 where nothing is said."""
SHARE = {"gepa": 0.3, "miprov2": 0.3, "infer_rules": 0.5}
"""Share of the proposals that is withheld; 0.35 where nothing is said."""
LONG = "two searches of some hundred calls each, one of them at one thread"
PROPOSING = (
    *("gepa", "miprov2", "copro", "infer_rules"),
    *(pytest.param(name, marks=pytest.mark.slow(LONG)) for name in ("better_together", "simba")),
)
LATER = "attempted_instructions"
"""In COPRO's prompts from the second generation on."""


def asked_of(place, name, **options):
    reward = {"reward": "triage:plausible"} if name in {"best_of_n", "refine"} else {}
    return place.request(name, **{"trials": TRIALS.get(name, 2), "rounds": 1, **reward, **options})


def folder_of(place, result):
    return find_run(place.loaded.workspace.runs, result.run_id)


def noted(place, result):
    path = folder_of(place, result).withheld
    return json.loads(path.read_text()) if path.exists() else []


def events_of(place, result, kind):
    return [event for event in read_events(folder_of(place, result).events) if event["kind"] == kind]


def codes(result):
    return [warning["code"] for warning in result.warnings]


def same(a, b):
    return (a.program_hash, a.baseline, a.optimized, a.verdict) == (
        b.program_hash,
        b.baseline,
        b.optimized,
        b.verdict,
    )


@pytest.mark.parametrize("name", PROPOSING)
def test_a_search_goes_on_without_what_is_withheld_whatever_the_threads(places, name):
    found = []
    for threads in (1, 8):
        place, made = places(f"at-{threads}"), []
        request = asked_of(place, name, num_threads=threads, rounds=2 if name == "simba" else 1)
        done = place.optimize(request, wrap=wrapping(made, share_of(SHARE.get(name, 0.35))))
        result, model = done.result, made[0]
        assert done.error is None, done.error
        assert result.status == "succeeded"
        assert {line["stopped"] for line in result.rounds} == {None}
        assert model.answered > 0
        # Each was asked for once, is written down, and told.
        assert len(set(model.withheld)) == len(model.withheld) == len(noted(place, result)) > 0
        assert len(events_of(place, result, "withheld")) == len(model.withheld)
        assert sum(line["withheld"] for line in result.rounds) >= len(model.withheld)
        assert "proposals_withheld" in codes(result)
        assert result.calls["excluded"] == 0
        # Nobody's words but those of the program and of the model.
        for text in result.instructions.values():
            assert model.wrote(text.removeprefix(PLAIN).replace(INDUCED, ""))
        found.append(result)
    assert same(*found)
    if name != "copro":  # it shows neither examples nor words, and the offline model knows nothing of its own
        assert found[0].optimized["validation"] > found[0].baseline["validation"]


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("name", tuple(builtin_optimizers()))
def test_a_model_that_gives_no_proposal_at_all_has_a_clear_end(place, name, threads):
    made = []
    done = place.optimize(asked_of(place, name, num_threads=threads, trials=2), wrap=wrapping(made, every))
    result = done.result
    assert made[0].answered == 0
    if done.error is None:
        assert name not in {"gepa", "copro"}  # they have nothing else
        assert result.status == "succeeded"
        assert ("proposals_withheld" in codes(result)) == bool(made[0].withheld)
        assert set((result.instructions or {}).values()) <= {PLAIN}
    else:
        assert name in {"gepa", "copro", "better_together", "miprov2", "refine"}
        assert (done.error.exit_code, done.error.code) == (6, "content_filter")
        assert (result.status, result.stop_reason) == ("stopped", "provider")
        assert result.resume
        assert noted(place, result) == []
    # The advice that Refine asks for is part of the program's run on an example, and none of a search's.
    assert name == "refine" or result.calls["excluded"] == 0


@pytest.mark.parametrize(
    ("name", "threads", "moment"), [("gepa", 1, 3), ("gepa", 8, 1), ("miprov2", 8, 3), ("copro", 1, 2)]
)
def test_a_run_that_was_stopped_after_one_ends_in_the_same_program(places, name, threads, moment):
    whole, cut, made, again = places("whole"), places("cut"), [], []
    request = asked_of(whole, name, num_threads=threads)
    which = share_of(0.5)
    wanted = whole.optimize(request, wrap=wrapping(made, which)).result
    control, seen = Control(), []

    def stop(event):
        if event.kind == "withheld":
            seen.append(event)
            if len(seen) == moment:
                control.interrupt()

    first = cut.optimize(request, wrap=wrapping(again, which), listener=stop, control=control).result
    assert first.stop_reason == "interrupted"
    result = cut.resume(first.run_id, request, wrap=wrapping(again, which)).result
    assert result.status == "succeeded", result.error
    assert same(result, wanted)
    assert codes(result) == codes(wanted)
    assert [line["withheld"] for line in result.rounds] == [line["withheld"] for line in wanted.rounds]
    # No call is made twice, not even the withheld ones.
    assert sorted(again[0].withheld + again[1].withheld) == sorted(made[0].withheld)
    assert result.calls["made"] == wanted.calls["made"]


def test_a_run_killed_before_it_was_noted_asks_once_more_and_ends_in_the_same_program(places):
    whole, cut, made, again = places("whole"), places("cut"), [], []
    request = asked_of(whole, "gepa", num_threads=1)
    wanted = whole.optimize(request, wrap=wrapping(made, share_of(0.3))).result
    control = Control()

    def stop(event):
        if event.kind == "withheld":
            control.interrupt()

    which = share_of(0.3)
    first = cut.optimize(request, wrap=wrapping(again, which), listener=stop, control=control).result
    folder_of(cut, first).withheld.unlink()
    result = cut.resume(first.run_id, request, wrap=wrapping(again, which)).result
    assert same(result, wanted)
    assert result.calls["made"] == wanted.calls["made"] + 1
    assert again[1].withheld[0] == again[0].withheld[0]


def test_where_too_many_are_withheld_the_run_stops_and_a_resume_asks_anew(places):
    place, good, made, again = places("filtered"), places("good"), [], []
    request = asked_of(place, "gepa")
    done = place.optimize(request, wrap=wrapping(made, every))
    assert (done.error.exit_code, done.error.code) == (6, "content_filter")
    assert "calls for proposals of round 1 were withheld, more than" in done.error.message
    assert "--optimization-model" in done.error.hint
    assert done.result.rounds[0]["stopped"] == "provider"
    # As many as it may lose, and one.
    assert 10 < len(made[0].withheld) < 30
    assert len(events_of(place, done.result, "withheld")) == len(made[0].withheld) - 1
    assert noted(place, done.result) == []
    mended = place.resume(done.result.run_id, request, wrap=wrapping(again, share_of(0.0)))
    assert mended.result.status == "succeeded", mended.error
    assert same(mended.result, good.optimize(request).result)


def test_a_run_that_was_stopped_for_them_goes_on_without_where_the_share_is_raised(place):
    made = []
    request = asked_of(place, "gepa")

    def which(asked):
        return any(
            word in asked.rpartition("examples_with_feedback")[2] for word in ("parcel", "refund", "login")
        )

    first = place.optimize(request, wrap=wrapping(made, which))
    assert first.error.exit_code == 6
    assert made[0].answered > 0
    place.loaded = load(place.root, environ={"SKILL_FLEET_CALLS__MAX_FAILED_SHARE": "1"})
    done = place.resume(first.result.run_id, request, wrap=wrapping(made, which))
    assert done.error is None, done.error
    assert done.result.optimized["validation"] >= first.result.optimized["validation"]
    assert len(made[1].withheld) > len(made[0].withheld)


def test_a_share_of_zero_does_without_none(place):
    made = []
    place.loaded = load(place.root, environ={"SKILL_FLEET_CALLS__MAX_FAILED_SHARE": "0"})
    done = place.optimize(asked_of(place, "miprov2", num_threads=1), wrap=wrapping(made, share_of(0.3)))
    assert done.error.exit_code == 6
    assert len(made[0].withheld) == 1
    assert noted(place, done.result) == []


def test_where_an_optimizer_cannot_go_on_the_round_ends_and_the_next_has_its_own_seed(places):
    place, made = places("one"), []
    request = asked_of(place, "copro", num_threads=1, rounds=3)
    done = place.optimize(request, wrap=wrapping(made, lambda asked: LATER in asked))
    result = done.result
    assert (result.status, done.error) == ("succeeded", None)
    assert [line["stopped"] for line in result.rounds] == ["withheld"] * 3
    # What had had a whole pass by then is what it chose among.
    assert all(line["score"] is not None for line in result.rounds)
    assert result.rounds[0]["candidates"] > 0
    assert len({rollout for _, rollout, _ in made[0].withheld}) == 3
    assert "it ended there" in result.warnings[-2]["message"]
    # A round that ended so is over: a resumed run reports it with what it took, and nothing is asked again.
    bills = [(line["calls"], line["usd"]) for line in result.rounds]
    again = place.resume(result.run_id, request, wrap=wrapping(made, lambda asked: LATER in asked)).result
    assert [(line["calls"], line["usd"]) for line in again.rounds] == bills
    assert made[1].withheld == []
    assert same(again, result)


def test_miprov2_keeps_an_instruction_where_a_proposal_is_withheld_and_what_it_bootstrapped(places):
    def which(asked):
        return "proposed_instruction" in asked and share(asked)

    share, found = share_of(0.7), []
    for threads in (1, 8):
        place, made = places(f"at-{threads}"), []
        request = asked_of(place, "miprov2", num_threads=threads, trials=8)
        result = place.optimize(request, wrap=wrapping(made, which)).result
        assert [line["stopped"] for line in result.rounds] == [None]
        assert len(made[0].withheld) == len(noted(place, result)) > 0
        assert result.optimized["validation"] > result.baseline["validation"]
        found.append((result, sorted(made[0].withheld)))
    assert same(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
    # One place less to try is all: no trial asks for anything but what it would have asked for.
    plain = places("plain")
    without = plain.optimize(asked_of(plain, "miprov2", num_threads=8, trials=8)).result
    assert without.rounds[0]["candidates"] >= found[1][0].rounds[0]["candidates"]


def test_with_a_dspy_that_was_not_checked_miprov2_ends_its_round_there(places, monkeypatch):
    monkeypatch.setattr(miprov2, "mipro_class", lambda: dspy.MIPROv2)
    place, made = places("one"), []
    written = "proposed_instruction"
    done = place.optimize(
        asked_of(place, "miprov2", num_threads=1), wrap=wrapping(made, lambda asked: written in asked)
    )
    assert done.error is None
    assert [line["stopped"] for line in done.result.rounds] == ["withheld"]
    assert done.result.published == "baseline"


def test_rules_are_written_from_fewer_examples_where_the_prompt_is_too_long(places):
    place, whole, made, plain = places("short"), places("long"), [], []
    request = asked_of(place, "infer_rules", num_threads=1, rounds=1)
    whole.optimize(request, wrap=wrapping(plain, share_of(0.0)))
    done = place.optimize(request, wrap=wrapping(made, share_of(0.0), longest=4000))
    assert done.error is None, done.error
    assert made[0].answered == plain[0].answered > 0
    # How many fit is found out once.
    assert 0 < len(made[0].withheld) <= 4
    assert done.result.optimized["validation"] > done.result.baseline["validation"]


def test_descriptions_of_program_and_data_that_are_withheld_leave_the_proposals(places):
    place, made = places("one"), []

    def which(asked):
        return "proposed_instruction" not in asked

    done = place.optimize(asked_of(place, "miprov2", num_threads=4), wrap=wrapping(made, which))
    assert done.error is None, done.error
    assert made[0].answered > 0
    assert len(made[0].withheld) >= 2
    assert done.result.optimized["validation"] > done.result.baseline["validation"]


def test_a_program_that_runs_on_none_of_the_examples_makes_no_proposals():
    known = dspy.Example(ticket="one", queue="bugs").with_inputs("ticket")
    watch = Attribution([known])
    for asked, subject in (({"ticket": "another"}, ""), ({"basic_instruction": "one"}, None)):
        watch.on_module_start("outer", None, {"kwargs": asked})
        watch.on_module_start("inner", None, {"kwargs": {"basic_instruction": "of the program"}})
        assert current_subject() == subject
        watch.on_module_end("inner", None)
        assert current_subject() == subject
        watch.on_module_end("outer", None)
        assert current_subject() is None


@pytest.mark.parametrize(
    "text",
    [
        '[{"key": "x"}]',
        "[1]",
        '{"a": 1}',
        '[{"key": "", "round": "1", "code": "", "reason": "", "hint": ""}]',
    ],
)
def test_a_list_that_was_edited_by_hand_is_named_in_a_sentence(places, text):
    place, control = places("one"), Control()

    def stop(event):
        if event.kind == "withheld":
            control.interrupt()

    request = asked_of(place, "gepa")
    wrap = wrapping([], share_of(0.5))
    first = place.optimize(request, wrap=wrap, listener=stop, control=control).result
    path = folder_of(place, first).withheld
    path.write_text(text)
    error = place.resume(first.run_id, replace(request), wrap=wrap).error
    assert isinstance(error, DataError), error
    assert error.message.count(". ") == 0
    assert str(path) in error.message
