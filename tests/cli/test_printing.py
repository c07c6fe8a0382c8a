"""What a program, a metric or a reward prints or ends never reaches stdout, nor the process."""

import pytest

LOUD = """
import sys

import dspy

print("ON IMPORT")


class Namer(dspy.Module):
    def __init__(self):
        super().__init__()
        self.name = dspy.Predict("task -> name")

    def forward(self, task):
        print("IN FORWARD")
        return self.name(task=task)


class Leaver(Namer):
    def forward(self, task):
        sys.exit(7)


class LateLeaver(Namer):
    def forward(self, task):
        if self.name.demos:
            sys.exit(7)
        return self.name(task=task)


class Silent(Namer):
    def forward(self, task):
        self.name(task=task)


def length(gold, pred, trace=None):
    print("IN METRIC")
    return (len(gold.task) * 7 % 10) / 10


def leaving(gold, pred):
    sys.exit(9)


def wordy(gold, pred):
    raise ValueError("word " * 1000)


def prefers(args, pred):
    print("IN REWARD")
    return 0.5


def breaks(args, pred):
    raise ValueError("boom")


def text(args, pred):
    return "good"


def unknown(args, pred):
    return float("nan")


def left(args, pred):
    sys.exit(3)
"""


@pytest.fixture
def loud(ws, own):
    """Options of a run of something that prints; they come before others, which replace them."""
    (ws / "loud.py").write_text(LOUD)
    return (*own, "--program", "loud:Namer", "--metric", "loud:length", "--no-input", "--json")


@pytest.mark.parametrize("optimizer", ["labeled_few_shot", "best_of_n"])
def test_a_run_whose_program_metric_and_reward_print_is_one_json_value(cli, loud, ws, optimizer):
    reward = ("--reward", "loud:prefers") if optimizer == "best_of_n" else ()
    ended = cli("optimize", *loud, "--optimizer", optimizer, "--trials", "2", *reward)
    assert ended.code == 0
    assert ended.json["status"] == "succeeded"
    log = next((ws / ".skill-fleet" / "runs").glob("*/optimizer.log")).read_text()
    assert "IN METRIC" in log
    assert "IN FORWARD" in log
    assert not reward or "IN REWARD" in log


def test_what_is_printed_elsewhere_goes_to_stderr(cli, loud):
    data = ("--data", "things.json", "--metric", "loud:length", "--json")
    ended = cli("estimate", *loud)
    assert ended.json["optimizer"] == "gepa"
    assert "IN FORWARD" in ended.err
    ended = cli("evaluate", "--program", "loud:Namer", *data)
    assert ended.json["examples"] > 0
    assert "IN METRIC" in ended.err
    ended = cli("compare", "loud:Namer", "loud:Namer", *data)
    assert ended.code in {0, 2}
    assert ended.json
    assert "IN" in ended.err


@pytest.mark.parametrize(
    ("option", "name", "said", "code"),
    [
        ("--metric", "loud:leaving", "The metric leaving raised SystemExit: 9.", "metric"),
        ("--program", "loud:Leaver", "The program raised SystemExit(7)", "program"),
        ("--program", "loud:Silent", "The program returned None.", "program"),
        ("--reward", "loud:left", "The reward left raised SystemExit: 3.", "metric"),
        ("--reward", "loud:breaks", "The reward breaks raised ValueError: boom.", "metric"),
        ("--reward", "loud:text", "The reward text returned good", "metric"),
        ("--reward", "loud:unknown", "The reward unknown returned nan", "metric"),
    ],
)
def test_what_breaks_or_exits_fails_the_run_in_its_preflight(cli, loud, option, name, said, code):
    chosen = ("--optimizer", "best_of_n", "--trials", "2") if option == "--reward" else ()
    ended = cli("optimize", *loud, *chosen, option, name)
    assert ended.code == 1
    assert ended.json["status"] == "failed"
    assert ended.json["error"]["code"] == code
    assert said in ended.json["error"]["message"]
    assert ended.json["error"]["hint"]
    assert ended.json["calls"]["made"] <= 3, "nothing but the preflight was spent"


@pytest.mark.parametrize("optimizer", ["labeled_few_shot", "miprov2"])
def test_a_program_that_exits_only_in_the_search_fails_the_run(cli, loud, optimizer):
    chosen = ("--program", "loud:LateLeaver", "--optimizer", optimizer, "--trials", "2")
    ended = cli("optimize", *loud, *chosen)
    assert ended.code == 1
    assert (ended.json["status"], ended.json["stop_reason"]) == ("failed", "program")
    assert "SystemExit(7)" in ended.json["error"]["message"]


def test_a_metric_that_says_a_thousand_words_is_quoted_in_short(cli, loud):
    ended = cli("optimize", *loud, "--metric", "loud:wordy")
    message = ended.json["error"]["message"]
    assert "of the 2 examples tried (there are 3) failed" in message
    assert len(message) < 450


def test_a_program_that_exits_outside_of_a_run_is_one_sentence(cli, loud):
    ended = cli(
        "evaluate", "--program", "loud:Leaver", "--data", "things.json", "--metric", "loud:length", "--json"
    )
    assert ended.code == 1
    assert ended.json["error"]["code"] == "program"
