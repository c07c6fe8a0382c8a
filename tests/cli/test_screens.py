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
