"""What an option cannot mean is refused before anything is begun, in a sentence that says what would do."""

import json

import pytest

from skill_fleet.optimization.optimizer import Parameter
from skill_fleet.optimization.registry import builtin_optimizers

REWARD = "def likes(args, pred):\n    return 0.5\n"
ALL_KNOWN = ", ".join(sorted(builtin_optimizers()))

CASES = [
    (
        "--trials of best_of_n must be 2 to 64, not 1.",
        "--optimizer best_of_n --reward liking:likes --trials 1",
    ),
    (
        "--trials of best_of_n must be 2 to 64, not 65.",
        "--optimizer best_of_n --reward liking:likes --trials 65",
    ),
    ("must be at least 1, not 0.", "--optimizer knn_few_shot --max-labeled-demos 0"),
    ("must be at least 1, not 0.", "--optimizer bootstrap_random_search --max-bootstrapped-demos 0"),
    ("only together with --max-labeled-demos 0", "--optimizer miprov2 --max-bootstrapped-demos 0"),
    ("--max-labeled-demos says nothing to gepa. It takes: --auto, --trials", "--max-labeled-demos 3"),
    ("--max-minutes': 0 is no number of minutes above 0.", "--max-minutes 0"),
    ("never chooses best_of_n or refine", "--optimizer auto --reward liking:likes"),
    (f"Known: {ALL_KNOWN}.", "--optimizer nonesuch"),
    ("/proc/x/y.json cannot be written: ", "--output /proc/x/y.json"),
    ("another --output", "--output things.json"),
]


@pytest.fixture
def asked(ws, own):
    (ws / "liking.py").write_text(REWARD)
    return (*own, "--no-input", "--json")


@pytest.mark.parametrize("command", ["optimize", "estimate"])
@pytest.mark.parametrize(("said", "options"), CASES)
def test_it_is_refused_before_a_run_is_begun(cli, ws, asked, command, said, options):
    ended = cli(command, *asked, *options.split())
    assert ended.code in {1, 2}
    error = ended.json["error"]
    assert said in f"{error['message']} {error['hint']}"
    assert "gepa" not in error["message"] or "gepa" in said
    assert "budget." not in error["hint"]
    assert not (ws / ".skill-fleet" / "runs").exists()


def test_what_is_in_range_is_taken(cli, asked):
    none = ("--optimizer", "miprov2", "--max-bootstrapped-demos", "0", "--max-labeled-demos", "0")
    assert cli("estimate", *asked, *none).code == 0
    assert cli("estimate", *asked, "--max-minutes", "0.5").code == 0


def test_a_setting_that_says_nothing_to_the_optimizer_is_no_error(cli, ws, asked):
    (ws / "config").mkdir()
    (ws / "config" / "config.yaml").write_text("optimization: {max_labeled_demos: 3}\n")
    assert cli("estimate", *asked).code == 0


def test_a_place_that_was_only_tried_is_left_as_it_was(cli, ws, asked):
    before = sorted(ws.iterdir())
    assert cli("estimate", *asked, "--output", "made/later/x.json").code == 0
    assert {one.name for one in ws.iterdir()} - {one.name for one in before} <= {
        ".skill-fleet",
        "__pycache__",
    }


@pytest.mark.parametrize("option", [("--optimizer", "gepa"), ("--profile", "3"), ("--output", "x.json")])
def test_recommend_refuses_what_says_nothing_to_it(cli, ws, own, option):
    at = own.index("--optimizer")
    ended = cli("recommend", *own[:at], *own[at + 2 :], *option, "--json")
    assert ended.code == 2
    assert ended.json["error"]["message"].startswith(f"{option[0]} says nothing to recommend")


def test_a_cap_in_the_settings_is_not_taken_for_another_word(cli, ws):
    (ws / "config").mkdir()
    (ws / "config" / "config.yaml").write_text("budget: {max_minutes: 0}\n")
    error = cli("config", "show", "--json").json["error"]
    assert "budget.max_minutes" in error["message"]
    assert "Did you mean" not in error["hint"]


@pytest.mark.parametrize("cap", ["2", "7"])
def test_where_there_is_no_run_nobody_is_told_to_resume_one(cli, cap):
    ended = cli("create-skill", "--task", "Rotate logs", "--refine", "5", "--max-calls", cap, "--json")
    assert ended.code == 5
    assert "resume" not in (ended.out + ended.err).lower()
    assert "Raise the cap" in json.dumps(ended.json)


def test_a_missing_key_names_the_variable_of_the_provider(cli):
    ended = cli("create-skill", "--task", "Do x", "--model", "openai/gpt-4o-mini", "--json")
    assert ended.code == 6
    error = ended.json["error"]
    assert "OPENAI_API_KEY is not set" in error["message"]
    assert error["hint"] == "export OPENAI_API_KEY=…"
    assert "dspy.LM" not in ended.err


def test_every_range_of_a_number_can_be_checked():
    for make in builtin_optimizers().values():
        for parameter in make().info.parameters:
            if parameter.type == "int":
                assert not parameter.allows(-1), parameter
                if parameter.default is not None:
                    assert parameter.allows(parameter.default)
    words = Parameter("x", "module:function", None, "(args, pred) -> [0, 1]", "")
    assert words.allows(-1)
