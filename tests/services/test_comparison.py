"""Two and more programs compared: readings, exclusions, cost beside quality, the choice."""

import json
from dataclasses import dataclass, replace

import dspy
import pytest

from skill_fleet.config.load import load
from skill_fleet.core.programs.artifact import save_artifact
from skill_fleet.core.programs.catalog import find_program, source_digest
from skill_fleet.core.programs.recipes.nearest import NearestDemos
from skill_fleet.domain.split import split_of
from skill_fleet.domain.trainset import load_trainset
from skill_fleet.evaluation.measurement import Measurement, Outcome
from skill_fleet.evaluation.score import NoScore, Score
from skill_fleet.evaluation.statistics import alpha_for_read, compare_paired
from skill_fleet.evaluation.usage import CostPerAnswer
from skill_fleet.foundation.errors import DataError
from skill_fleet.foundation.files import write_json
from skill_fleet.optimization.conclusions.verdict import (
    digest_of_test,
    groups_needed,
    judge_family,
    scored_for_all,
)
from skill_fleet.optimization.planning.parts import parts_to_json
from skill_fleet.optimization.records.runs import RunFolder
from skill_fleet.services.comparison import Side, _choice, compare_programs
from skill_fleet.services.context import Context
from skill_fleet.services.measuring import Measuring, evaluate_program

PROGRAM = '''
"""A program and a metric that no instruction changes."""
import dspy


class Namer(dspy.Module):
    def __init__(self):
        super().__init__()
        self.name = dspy.Predict("task -> name")

    def forward(self, task):
        return self.name(task=task)


def length(gold, pred, trace=None):
    return (len(gold.task) * 7 % 10) / 10


def flat(gold, pred):
    return 0.5
'''
PLAIN, LONG, OTHER = "namer:Namer", "long.json", "other.json"


@dataclass(frozen=True)
class Named:
    """What a choice needs of a program."""

    label: str
    hash: str = ""


def measurement(scores):
    """Of every group one example; None is an example that failed."""
    return Measurement(
        tuple(
            Outcome(str(n), f"g{n}", None if one is None else Score(one), None, 0.0)
            if one is not None
            else Outcome(str(n), f"g{n}", None, NoScore("timeout", "It took too long."), 0.0)
            for n, one in enumerate(scores)
        )
    )


def side(label, scores, tokens, usd=0.0):
    return Side(Named(label), measurement(scores), 0, CostPerAnswer(1.0, tokens, usd))


def choice(*sides, prefer="cheaper"):
    family = judge_family(sides[0].found, [one.found for one in sides[1:]], reads=1, seed=0)
    return _choice(sides, family, prefer, 1)["program"]


LOW = [0.30 + 0.01 * (n % 5) for n in range(12)]
HIGH = [0.60 + 0.01 * (n % 7) for n in range(12)]
ABOUT_HIGH = [one - 0.01 * (-1) ** n for n, one in enumerate(HIGH)]


def test_the_choice_is_the_best_of_those_shown_better():
    a, b, c = side("a", LOW, 10.0), side("b", ABOUT_HIGH, 20.0), side("c", [x + 0.005 for x in HIGH], 90.0)
    assert choice(a, b, c, prefer="quality") == "c"
    assert choice(a, b, c) == "b", "about as good as the best, and cheaper"
    assert choice(a, side("b", LOW, 1.0), prefer="quality") == "a"
    assert choice(a, side("b", LOW, 1.0)) == "b"


def test_a_cheaper_program_is_not_chosen_for_want_of_a_proof():
    good, bad = side("good", [0.9, 0.8, 0.9], 50.0), side("bad", [0.5, 0.6, 0.4], 1.0)
    assert choice(good, bad) == "good", "3 groups show nothing, and .35 below is not about as good"


def test_an_unknown_cost_is_not_cheaper():
    a = side("a", HIGH, 10.0)
    assert choice(a, side("b", HIGH, None, None)) == "a"
    assert choice(side("a", HIGH, None, None), side("b", HIGH, 5.0)) == "a"


def test_dollars_go_before_tokens_where_they_are_known():
    a, b = side("a", HIGH, 10.0, usd=0.02), side("b", HIGH, 90.0, usd=0.01)
    assert choice(a, b) == "b"
    assert choice(a, side("b", HIGH, 90.0, usd=None)) == "a"


def test_an_example_that_failed_for_one_counts_for_none():
    found = scored_for_all(
        [
            measurement([0.1, 0.2, 0.3, 0.4]),
            measurement([0.5, None, 0.7, 0.8]),
            measurement([0.5, 0.6, 0.7, None]),
        ]
    )
    assert [list(one.scores()) for one in found] == [["0", "2"]] * 3
    assert found[0].mean == pytest.approx(0.2)


def test_measurements_of_other_examples_do_not_pair_up():
    with pytest.raises(DataError, match="same examples"):
        scored_for_all([measurement([0.1, 0.2]), measurement([0.1, 0.2, 0.3])])


@pytest.fixture
def context(tmp_path):
    (tmp_path / "namer.py").write_text(PROGRAM)
    things = "anvil barometer canoe dynamo easel funnel gyroscope harpoon inkwell jigsaw".split()
    items = [{"task": f"a {thing}", "group": thing, "name": thing} for thing in things]
    (tmp_path / "things.json").write_text(json.dumps(items))
    for file, words in ((LONG, "Name it, at length. " * 20), (OTHER, "Name it another way.")):
        program = find_program(PLAIN, search=tmp_path).build()
        program.name.signature = program.name.signature.with_instructions(words)
        facts = {
            "program": PLAIN,
            "source_digest": source_digest(program),
            "simulated": True,
            "created_at": "",
        }
        save_artifact(program, tmp_path / file, facts)
    return Context(load(tmp_path, environ={}))


HOW = Measuring(data="things.json", metric="namer:length", num_threads=2)


def test_cost_stands_beside_quality_also_where_the_journal_answered(context):
    first = compare_programs(context, [PLAIN, LONG], HOW)
    again = compare_programs(context, [PLAIN, LONG], HOW)
    assert first["calls"]["made"] > 0
    assert again["calls"]["made"] == 0
    for found in (first, again):
        a, b = found["a"]["cost_per_answer"], found["b"]["cost_per_answer"]
        assert a["calls"] >= 1
        assert b["tokens"] > 1.5 * a["tokens"]
        assert a == first["a"]["cost_per_answer"]
        assert found["a"]["mean"] == found["b"]["mean"]
        assert (found["a"]["on_front"], found["b"]["on_front"]) == (True, False)
        assert found["verdict"] == "not_shown"
    assert compare_programs(context, [LONG, PLAIN], HOW)["choice"]["program"] == LONG
    cheaper = compare_programs(context, [LONG, PLAIN], HOW, prefer="cheaper")["choice"]
    assert cheaper["program"] == PLAIN
    assert cheaper["reason"] == f"cheaper than {LONG}, and about as good"


def test_one_question_is_one_reading_in_whatever_order(context):
    def reads(*names):
        return compare_programs(context, names, HOW)["test_reads"]

    assert [reads(PLAIN, LONG), reads(LONG, PLAIN), reads(PLAIN, LONG)] == [1, 1, 1]
    assert [reads(PLAIN, LONG, OTHER), reads(PLAIN, OTHER, LONG)] == [2, 2]
    assert reads(LONG, PLAIN, OTHER) == 3, "another reference is another question"


def test_several_candidates_share_the_alpha_of_one_reading(context):
    found = compare_programs(context, [PLAIN, LONG, OTHER], HOW)
    assert found["reference"]["program"] == PLAIN
    assert [one["program"] for one in found["candidates"]] == [LONG, OTHER]
    assert "a" not in found
    assert found["alpha"] == alpha_for_read(1)
    assert (found["n"], found["groups"], found["correction"]) == (10, 10, "holm")
    for one in found["candidates"]:
        assert one["alpha"] == alpha_for_read(1) / 2
        assert one["p_adjusted"] == 1.0
        assert one["simultaneous_interval"] == one["interval"]


def made(context, name, *, run_id=None, demos=(), examples=()):
    """A program on disk that is said to be the result of a run."""
    program = find_program(PLAIN, search=context.workspace.root).build()
    digest = source_digest(program)
    program.name.signature = program.name.signature.with_instructions("Name it shortly.")
    program.name.demos = [dspy.Example(**demo, augmented=True) for demo in demos]
    if examples:
        program = NearestDemos(program, examples=examples, inputs=["task"], predictors=["name"], k=1)
    facts = {"program": PLAIN, "source_digest": digest, "simulated": True, "created_at": ""}
    save_artifact(program, context.path(name), {**facts, "run_id": run_id, "optimizer": "gepa"})
    return name


def things(context):
    return load_trainset(context.workspace.root / "things.json").items


def test_examples_that_a_run_trained_on_or_chose_by_are_left_out(context):
    items = things(context)
    folder = RunFolder(context.workspace.runs / "20260101-000000-abcdef")
    # In the run they bear other ids and groups: only what is asked tells them.
    renamed = [replace(item, id=f"own-{n}", group=f"other-{n}") for n, item in enumerate(items)]
    split = split_of(tuple(renamed[:2]), (renamed[2],), tuple(renamed[3:]), 0)
    write_json(folder.data, parts_to_json(split))
    write_json(folder.request, {})
    name = made(context, "trained.json", run_id=folder.run_id)
    found = compare_programs(context, [PLAIN, name], HOW)
    assert found["examples"] == found["n"] == 7
    [warning] = found["warnings"]
    assert (warning["code"], warning["examples"]) == ("trained_on", 3)
    assert f"3 of 10 examples of things.json were used to make {name}" in warning["message"]
    assert compare_programs(context, [PLAIN, LONG], HOW)["warnings"] == [], "nobody has seen anything"
    whole = evaluate_program(context, name, HOW)
    assert whole["examples"] == 10, "a program alone is measured on all of it, and that is said"
    assert [(one["code"], one["examples"]) for one in whole["warnings"]] == [("trained_on", 3)]


def test_a_plain_program_of_a_run_has_seen_nothing(context):
    items = things(context)
    folder = RunFolder(context.workspace.runs / "20260101-000000-abcdef")
    write_json(folder.data, parts_to_json(split_of(items[:4], items[4:5], items[5:], 0)))
    write_json(folder.request, {})
    entry = find_program(PLAIN, search=context.workspace.root)
    digest = source_digest(entry.build())
    facts = {"program": PLAIN, "source_digest": digest, "simulated": True, "created_at": ""}
    save_artifact(entry.build(), context.path("plain.json"), {**facts, "run_id": folder.run_id})
    assert compare_programs(context, [LONG, "plain.json"], HOW)["examples"] == 10


@pytest.mark.parametrize("kind", ["demos", "examples"])
def test_what_a_program_holds_itself_is_seen_where_its_run_is_gone(context, kind):
    held = [{"task": " a  barometer\n", "name": "x"}, {"task": "of something else", "name": "y"}]
    name = made(context, "holds.json", run_id="20200101-000000-gone", **{kind: held})
    found = compare_programs(context, [name, PLAIN], HOW)
    assert found["examples"] == 9
    assert found["warnings"][0]["examples"] == 1
    assert any("20200101-000000-gone is not here" in note for note in found["a"]["notes"])


def test_what_belongs_to_an_example_that_was_seen_is_left_out_with_it(context):
    file = context.workspace.root / "things.json"
    items = json.loads(file.read_text())
    items[1]["group"] = items[0]["group"]
    file.write_text(json.dumps(items))
    name = made(context, "holds.json", demos=[items[0]])
    found = compare_programs(context, [PLAIN, name], HOW)
    assert found["examples"] == 8
    assert "2 with the rest of their groups" in found["warnings"][0]["message"]


def test_where_no_example_is_new_nothing_is_measured(context):
    name = made(context, "holds.json", demos=[dict(item.fields) for item in things(context)])
    told = []
    with pytest.raises(DataError, match="10 of 10 examples") as refused:
        compare_programs(context, [PLAIN, name], HOW, on_done=lambda *done: told.append(done))
    assert refused.value.code == "trained_on"
    assert told == []


def test_what_could_show_nothing_says_why(context):
    file = context.workspace.root / "few.json"
    file.write_text(json.dumps(json.loads((context.workspace.root / "things.json").read_text())[:3]))
    few = replace(HOW, data="few.json")

    def said(*names, how=few):
        return {one["code"]: one["message"] for one in compare_programs(context, names, how)["warnings"]}

    first = said(PLAIN, LONG)["too_few_groups"]
    assert first == "3 independent groups cannot show any difference: at reading 1 it takes 7."
    assert said(PLAIN, OTHER)["too_few_groups"].endswith("fresh examples (--data) start at reading 1.")
    assert said(PLAIN, LONG, how=replace(HOW, metric="namer:flat")) == {
        "no_signal": "The metric gives every answer of every program 0.5: it tells nothing apart."
    }


@pytest.mark.parametrize("groups", range(2, 12))
def test_as_few_groups_as_are_needed_can_show_a_difference_and_fewer_cannot(groups):
    alpha = alpha_for_read(2)
    found = compare_paired([0.2] * groups, [0.8] * groups, [str(n) for n in range(groups)], alpha=alpha)
    assert (found.verdict == "better") == (groups >= groups_needed(alpha))


def test_a_test_set_is_known_in_another_order_and_by_other_names(context):
    items = things(context)
    again = [replace(item, id=f"own-{n}") for n, item in enumerate(reversed(items))]
    assert digest_of_test(again) == digest_of_test(items)
    assert digest_of_test(items[1:]) != digest_of_test(items)
