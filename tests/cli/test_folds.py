"""`optimize --folds` and `--prefer` as a user sees them."""

import json
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parents[1] / "optimization" / "programs"
ASKED = (
    *("--program", "triage:TriageProgram", "--metric", "triage:exact", "--data", "few.json"),
    *("--optimizer", "labeled_few_shot", "--trials", "3", "--rounds", "1"),
)


@pytest.fixture
def few(ws):
    """36 tickets of 12 groups."""
    shutil.copy(PROGRAMS / "triage.py", ws)
    sys.path.insert(0, str(PROGRAMS))
    import triage

    taken: Counter[str] = Counter()
    found = []
    for ticket in triage.tickets():
        taken[ticket["group"]] += 1
        if taken[ticket["group"]] <= 3 and len(taken) <= 12:
            found.append(ticket)
    (ws / "few.json").write_text(json.dumps(found))
    return ws


def has(pattern, text):
    """Whether a line begins so."""
    return re.search(f"^{pattern}", text, re.MULTILINE) is not None


def test_folds_are_told_from_the_first_line_to_the_report(cli, few):
    ended = cli("optimize", *ASKED, "--folds", "3")
    assert ended.code == 0
    seen = r"a difference of about [\d.]+, in 8 of 10 runs \(12 groups"
    assert has(rf"Expected to show on 3 folds: {seen}", ended.err)
    for number in (1, 2, 3):
        assert f"Fold {number} of 3 …" in ended.err
        gain = r"Gain on the \d+ held-out examples: \+0\.\d+\.$"
        assert has(rf"Fold {number} of 3\. {gain}", ended.err)
    assert ended.err.count("Baseline on validation") == 1, "what a fold does on its way is not told"
    interval = r"\+0\.\d+ to \+\d\.\d+ \(97\.0 % interval\)\.$"
    assert has(rf"Better\. Gain on held-out folds: {interval}", ended.out)
    assert has(r"quality, held out \(36\) +0\.\d+ +\d\.\d+$", ended.out)
    assert has(r"tokens an answer +\d+ +\d+$", ended.out)
    assert has(r"tested +how it was made, 3 times", ended.out)
    assert has(r"choice +among \d+ candidates; \d of \d programs are on the front", ended.out)
    report = (few / cli("runs", "show", "--json").json["report"]).read_text()
    assert "## Folds" in report
    assert len(re.findall(r"^\| 1 \| [123] \| \d+ \| \d+ \| 0\.\d+ \|", report, re.MULTILINE)) == 3
    assert "## Quality against cost" in report
    assert "| mean quality, held out (36) |" in report


def test_a_run_without_a_sealed_test_is_not_compared_on_one(cli, few):
    assert cli("optimize", *ASKED, "--folds", "2", "--quiet").code == 0
    refused = cli("compare", "latest", "latest", "--quiet")
    assert refused.code == 1
    assert "was tested by folds: it has no sealed test" in refused.err


def test_the_price_of_folds_is_said_before(cli, few):
    alone = cli("estimate", *ASKED, "--json").json
    folded = cli("estimate", *ASKED, "--folds", "5", "--json").json
    assert folded["calls"][1] > 3 * alone["calls"][1]
    assert folded["power"]["folds"] == 5
    assert folded["power"]["groups"] == 12
    assert (
        "and 5 searches more, each tested on a fold of the 36" in cli("estimate", *ASKED, "--folds", "5").out
    )
    assert not (few / ".skill-fleet").exists()


def test_a_test_that_can_show_nothing_names_the_way_out(cli, few):
    said = "fewer than 7 cannot show a difference. --folds 5 tests all 36 examples, for about"
    assert said in cli("estimate", *ASKED).out
    ended = cli("optimize", *ASKED)
    assert said in ended.out
    assert said in ended.err.partition("Preflight")[0], "told before anything is spent"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--repeats", "2"), "--repeats says how often --folds are dealt"),
        (("--folds", "1"), "--folds"),
        (("--folds", "3", "--test-data", "few.json"), "--folds tests every example"),
        (("--prefer", "dearer"), "--prefer"),
    ],
    ids=["repeats", "one", "test data", "prefer"],
)
def test_what_makes_no_sense_is_a_usage_error(cli, few, words, said):
    ended = cli("optimize", *ASKED, *words)
    assert ended.code == 2
    assert said in ended.err
    assert not (few / ".skill-fleet").exists()


def test_preferences_can_stand_in_the_configuration(cli, few):
    (few / "config").mkdir(exist_ok=True)
    (few / "config" / "config.yaml").write_text("optimization: {folds: 3, prefer: cheaper}\n")
    result = cli("optimize", *ASKED, "--quiet", "--json").json
    assert result["folds"]["k"] == 3
    request = few / ".skill-fleet" / "runs" / result["run_id"] / "request.json"
    assert json.loads(request.read_text())["prefer"] == "cheaper"
