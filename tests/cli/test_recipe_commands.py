"""Recipes from the command line: found, shown, measured, put back; and drafts that are refined."""

import json

import pytest

TASK = "Rotate API keys of a payment service without downtime"
PROGRAM = '''
from typing import Literal

import dspy


class Route(dspy.Signature):
    ticket: str = dspy.InputField()
    queue: Literal["billing", "access", "shipping"] = dspy.OutputField()


class Router(dspy.Module):
    def __init__(self):
        super().__init__()
        self.route = dspy.Predict(Route)

    def forward(self, ticket):
        return self.route(ticket=ticket)


def right(gold, pred, trace=None):
    return float(gold.queue == pred.queue)


def short(args, pred):
    """Short answers are better."""
    return 1.0 if len(pred.queue) < 7 else 0.2
'''
OPTIMIZERS = ("knn_few_shot", "ensemble", "best_of_n", "refine")


@pytest.fixture
def tickets(ws):
    (ws / "routing.py").write_text(PROGRAM)
    words = {"billing": "invoice", "access": "password", "shipping": "parcel"}
    items = [
        {
            "id": f"{queue}-{number}",
            "group": f"g{number}",
            "ticket": f"{said} number {number}",
            "queue": queue,
        }
        for number in range(14)
        for queue, said in words.items()
    ]
    (ws / "tickets.json").write_text(json.dumps(items))
    return ["--program", "routing:Router", "--metric", "routing:right", "--data", "tickets.json"]


def test_optimizers_lists_them(cli):
    listed = {line["name"]: line for line in cli("optimizers", "--json").json["optimizers"]}
    assert set(OPTIMIZERS) <= set(listed)
    assert "inference" in listed["knn_few_shot"]["changes"]
    assert "reward" in [parameter["name"] for parameter in listed["refine"]["parameters"]]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizes_from_the_command_line(cli, ws, tickets, name):
    words = ["--optimizer", name, "--trials", 2, "--rounds", 1, "--output", "out.json", "--json"]
    reward = ["--reward", "routing:short"] if name in {"best_of_n", "refine"} else []
    done = cli("optimize", *tickets, *words, *reward)
    assert done.code == 0, done.err
    assert done.json["status"] == "succeeded"
    assert done.json["optimizer"] == name
    priced = cli("estimate", *tickets, *words[:4], *reward, "--json")
    assert priced.code == 0
    assert priced.json["calls"][0] <= priced.json["calls"][1]


def test_a_recipe_is_shown_promoted_measured_and_put_back(cli, ws, tickets):
    plain = ["--optimizer", "bootstrap_few_shot", "--trials", 1, "--output", "config/optimized/router.json"]
    assert cli("optimize", *tickets, *plain, "--quiet").code == 0
    found = cli(
        "optimize", *tickets, "--optimizer", "knn_few_shot", "--trials", 2, "--output", "near.json", "--json"
    )
    run = found.json["run_id"]
    assert cli("artifacts", "promote", run, "--output", "config/optimized/router.json").code == 0
    shown = cli("artifacts", "show", "router", "--json").json
    assert shown["recipe"]["kind"] == "knn_few_shot"
    assert (shown["recipe"]["members"], shown["recipe"]["runs_per_answer"]) == (1, 1)
    assert shown["recipe"]["examples"] > 5
    told = cli("artifacts", "show", "router").out
    assert "knn_few_shot (k " in told
    assert "an answer takes 1 run" in told
    file = "config/optimized/router.json"
    measured = cli(
        "evaluate", "--program", file, "--metric", "routing:right", "--data", "tickets.json", "--json"
    )
    assert measured.code == 0
    assert measured.json["mean"] > 0.9, "each ticket is its own nearest neighbour, or near one"
    assert cli("artifacts", "rollback", "router").code == 0
    assert cli("artifacts", "show", "router", "--json").json["recipe"] is None
    assert cli("artifacts", "rollback", "router").code == 0
    assert cli("artifacts", "show", "router", "--json").json["recipe"]["kind"] == "knn_few_shot"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--optimizer", "best_of_n"], "best_of_n needs a reward"),
        (["--optimizer", "gepa", "--reward", "routing:short"], "--reward says nothing to gepa"),
        (["--optimizer", "refine", "--reward", "routing:right"], "does not take (args, pred)"),
        (["--optimizer", "refine", "--reward", "os:system"], "is not a function of that module"),
    ],
    ids=["none", "not asked for", "a metric", "not of that module"],
)
def test_a_reward_that_cannot_be_used_is_a_usage_error(cli, tickets, words, says):
    ended = cli("optimize", *tickets, *words)
    assert ended.code == 2
    assert says in ended.err


def test_drafts_are_refined_with_advice(cli, ws):
    value = cli("create-skill", "--task", TASK, "--refine", 3, "--output", "a", "--json").json
    alone = cli("create-skill", "--task", TASK, "--output", "b", "--json").json
    assert len(value["drafts"]) == 3
    assert value["drafts"][0] == alone["drafts"][0], "the first is what one gets without"
    assert value["quality"] == pytest.approx(max(value["drafts"]))
    drawn = cli("create-skill", "--task", TASK, "--best-of", 3, "--output", "c", "--json").json
    assert drawn["drafts"] != value["drafts"]
    again = cli("create-skill", "--task", TASK, "--refine", 3, "--output", "d", "--json").json
    assert again["drafts"] == value["drafts"]
    assert again["calls"]["made"] == 0


def test_a_cap_keeps_the_best_of_the_refined_drafts_so_far(cli):
    capped = cli("create-skill", "--task", TASK, "--refine", 9, "--max-calls", 12, "--output", "b", "--json")
    assert capped.code == 5
    assert 1 <= len(capped.json["drafts"]) < 9
    assert capped.json["calls"]["made"] == 12


def test_best_of_and_refine_exclude_each_other(cli):
    ended = cli("create-skill", "--task", TASK, "--best-of", 2, "--refine", 2)
    assert ended.code == 2
    assert "exclude each other" in ended.err
