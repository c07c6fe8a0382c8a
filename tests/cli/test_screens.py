"""What a run says of itself does not contradict itself."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parents[1] / "optimization" / "programs"
NAMED = ("--program", "triage:TriageProgram", "--metric", "triage:exact", "--data", "tickets.json")
LENGTH = '''
def length(gold, pred, trace=None):
    """Of the question, whatever the answer is: nothing is ever better."""
    return (len(str(gold.ticket)) * 7 % 10) / 10
'''


@pytest.fixture
def place(ws):
    """A workspace with the ticket program and its 128 tickets."""
    shutil.copy(PROGRAMS / "triage.py", ws)
    sys.path.insert(0, str(PROGRAMS))
    import triage

    (ws / "tickets.json").write_text(json.dumps(triage.tickets()))
    (ws / "questions.py").write_text(LENGTH)
    return ws


def squeezed(text):
    return re.sub(" +", " ", text)


def report_of(place, cli):
    return (place / cli("runs", "show", "--json").json["report"]).read_text()


FRUITLESS = (*NAMED, "--optimizer", "labeled_few_shot", "--trials", "2", "--rounds", "1")
FRUITLESS = tuple("questions:length" if word == "triage:exact" else word for word in FRUITLESS)


def test_a_search_that_finds_nothing_says_so_and_shows_the_test_it_measured(cli, place):
    ended = cli("optimize", *FRUITLESS)
    assert ended.code == 0
    assert "Nothing better was found; the plain program was kept.\n" in ended.out
    assert "Not measured" not in ended.out
    assert "verdict none: no program did better on the validation set" in squeezed(ended.out)
    assert re.search(r"^quality, test \(64\) 0\.\d+ 0\.\d+$", squeezed(ended.out), re.MULTILINE)
    report = report_of(place, cli)
    assert "**Nothing better was found; the plain program was kept.**" in report
    assert "–" not in report


def test_folds_that_find_nothing_never_speak_of_a_sealed_test(cli, place):
    ended = cli("optimize", *FRUITLESS, "--folds", "3")
    assert "Nothing better was found; the plain program was kept.\n" in ended.out
    shown = ended.out.partition("\n!")[0]
    for said in (shown, report_of(place, cli)):
        assert "sealed test" not in said
        assert "test (0)" not in said
        assert "test set" not in said


def test_what_was_published_is_said_to_be_kept(cli, place):
    program = (*NAMED, "--optimizer", "labeled_few_shot", "--trials", "2", "--rounds", "1", "--quiet")
    assert cli("optimize", *program).code == 0
    ended = cli("optimize", *FRUITLESS)
    assert "Nothing better was found; what is published was kept.\n" in ended.out


BETTER = (*NAMED, "--optimizer", "labeled_few_shot", "--trials", "2", "--rounds", "1")


@pytest.mark.parametrize("folds", [None, "3"])
def test_a_second_reading_says_what_is_asked_of_it_and_what_would_renew_the_test(cli, place, folds):
    asked = (*BETTER, *(("--folds", folds) if folds else ()), "--output", "a.json")
    first = cli("optimize", *asked)
    assert re.search(r"verdict better \(p = [\d.e-]+, asked for 0\.03;", squeezed(first.out))
    second = cli("optimize", *asked, "--optimizer", "knn_few_shot").out
    assert re.search(r"verdict \w+ \(p = [\d.e-]+, asked for 0\.0\d+ at reading 2[;)]", squeezed(second))
    if folds:
        assert "These examples were read once before" in second
        assert "To renew: new examples; another --seed changes nothing." in second
    else:
        assert "This test set was read once before" in second
        assert "To renew: another --seed, or new examples." in second


def test_a_fold_artifact_was_not_tested_on_a_sealed_test(cli, place):
    assert cli("optimize", *BETTER, "--folds", "3", "--quiet").code == 0
    assert re.search(
        r"^quality .* \(held out\)$", cli("artifacts", "show", "triageprogram").out, re.MULTILINE
    )


def test_a_sealed_artifact_was(cli, place):
    assert cli("optimize", *BETTER, "--quiet").code == 0
    assert re.search(r"^quality .* \(test\)$", cli("artifacts", "show", "triageprogram").out, re.MULTILINE)


def test_the_notice_of_the_simulator_promises_no_price(cli, place):
    (place / "config").mkdir(exist_ok=True)
    (place / "config" / "config.yaml").write_text(
        "models: {registry: {offline: {price: {input_per_million: 5, output_per_million: 10}}}}\n"
    )
    shown = cli("optimize", *BETTER).out
    assert re.search(r"^cost +\$0\.\d+ \(", shown, re.MULTILINE)
    assert "SIMULATED: " in shown
    assert not re.search(r"\$0(?!\.\d)", shown)


def test_a_cap_too_small_for_the_test_says_the_rule_and_what_follows(cli, place):
    said = cli("optimize", *BETTER, "--max-calls", "180").out
    assert re.search(r"the sealed test: it needs about \d+ calls, half of the cap of 180 calls or more", said)
    assert "then there is no verdict before the cap is raised." in said


def test_a_cap_of_nothing_on_a_free_model_leaves_the_test_all_it_needs(cli, place):
    ended = cli("optimize", *BETTER, "--max-cost", "0")
    assert ended.code == 0
    assert "Nothing is set aside" not in ended.out + ended.err


def power(**more):
    return {"effect": 0.2, "sd": 0.3, "groups": 16, "reading": 1, "alpha": 0.03, "folds": 0, **more}


def test_what_is_expected_is_no_certainty():
    from skill_fleet.cli.progress import milestone

    assert milestone("power", power(folds=8)).startswith(
        "Expected to show on 8 folds: a difference of about 0.2, in 8 of 10 runs (16 groups, reading 1;"
    )
    assert "Expected to show on the sealed test: perhaps no difference (" in milestone(
        "power", power(effect=None)
    )
    assert milestone("power", power(effect=None, groups=6)).startswith("No difference can be shown")
    assert milestone("power", power(sd=None, effect=None)) is None


def test_the_foreseen_difference_is_near_what_the_folds_could_then_show(cli, place):
    asked = (*NAMED, "--optimizer", "knn_few_shot", "--folds", "4", "--rounds", "1", "--seed", "20")
    result = cli("optimize", *asked, "--quiet", "--json").json
    expected, found = (
        result[name] for name in ("expected_minimum_detectable_effect", "minimum_detectable_effect")
    )
    assert found / 2 < expected < 2 * found


def test_one_is_singular(cli, place):
    one = [json.loads((place / "tickets.json").read_text())[0]]
    (place / "one.json").write_text(json.dumps(one))
    said = cli("optimize", *BETTER, "--data", "one.json", "--optimizer", "copro").err
    assert "1 independent group (1 example in 1 named group," in said


def test_a_run_spared_by_an_earlier_one_says_why_it_was_cheaper(cli, place):
    first = cli("optimize", *BETTER, "--quiet", "--json").json
    assert first["calls"]["reused"] == 0
    again = cli("optimize", *BETTER, "--output", "b.json")
    assert "below the estimate: answers paid earlier" in again.out
    value = cli("runs", "show", "--json").json
    assert 0 < value["calls"]["reused"] <= first["calls"]["made"]
    assert f"({value['calls']['reused']} different ones paid before this run)" in again.out


def test_the_way_on_after_a_cap_raises_it_far_enough(cli, place):
    stopped = cli(
        "optimize", *NAMED, "--optimizer", "copro", "--trials", "4", "--rounds", "1", "--max-calls", "70"
    )
    assert stopped.code == 5
    assert "Round 1 cut short (budget): " in stopped.err
    way = re.search(r"^To go on: skill-fleet (runs resume \S+ --max-calls \d+)$", stopped.err, re.MULTILINE)
    value = cli("runs", "show", "--json").json
    assert value["resume"] == f"skill-fleet runs resume {value['run_id']}"
    assert value["rounds"][-1]["stopped"] == "budget"
    gone_on = cli(*way[1].split())
    assert gone_on.code == 0
    assert "Round 1: " in gone_on.err
    assert cli("runs", "show", "--json").json["rounds"][-1]["stopped"] is None


def test_a_round_that_was_interrupted_is_not_told_as_finished():
    from skill_fleet.cli.progress import milestone

    data = {"round": 1, "score": 0.375, "best": 0.375, "seconds": 2.0, "calls": 9}
    assert milestone("round", {**data, "stopped": None}).startswith("Round 1: 0.375")
    assert milestone("round", {**data, "stopped": "interrupted"}).startswith("Round 1 interrupted: 0.375")
