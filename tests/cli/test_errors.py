"""What can go wrong is one sentence, one exit code, and with --json one object."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CASES = [
    (3, "does not exist", ("optimize", "--data", "nowhere.json")),
    (3, "does not exist", ("dataset", "lint", "nowhere.json")),
    (1, "line 2", ("optimize", "--data", "broken.jsonl")),
    (1, "line 2, column", ("dataset", "show", "broken.json")),
    (1, "holds no item", ("optimize", "--data", "empty.json")),
    (1, "cannot be written", ("optimize", "--output", "file.txt/x.json")),
    (1, "cannot be written", ("create-skill", "--task", "Do x", "--output", "file.txt/x")),
    (2, "Did you mean 'gepa'?", ("optimize", "--optimizer", "geppa")),
    (2, "There is no model named 'gpt9'", ("optimize", "--model", "gpt9")),
    (2, "There is no model named 'gpt9'", ("create-skill", "--task", "Do x", "--model", "gpt9")),
    (2, "is not a directory", ("runs", "list", "--workspace", "nowhere")),
    (2, "--trials and --auto exclude each other", ("optimize", "--trials", "3", "--auto", "light")),
    (2, "'lite' is not one of", ("optimize", "--auto", "lite")),
    (2, "--rounds", ("optimize", "--rounds", "0")),
    (2, "--seed", ("optimize", "--seed", "x")),
    (2, "There is no program named 'Nope'", ("optimize", "--program", "Nope")),
    (2, "cannot be imported", ("optimize", "--program", "no_such_module:X", "--metric", "m:f")),
    (2, "has no 'nothing'", ("optimize", "--metric", "json:nothing")),
    (2, "has no predictor", ("optimize", "--program", "dspy:Module")),
    (2, "There is no predictor named 'wrte'", ("optimize", "--module", "wrte")),
    (2, "--data and --skills exclude", ("optimize", "--data", "empty.json", "--skills", ".")),
    (2, "neither a directory nor a .json file", ("optimize", "--output", "x.txt")),
    (2, "needs max_tokens", ("optimize", "--model", "openai/gpt-4o-mini", "--max-cost", "1")),
    (2, "No such option: --bogus", ("optimize", "--bogus")),
    (2, "Did you mean 'optimize'", ("optimise",)),
    (2, "Missing option '--task'", ("create-skill",)),
    (2, "--task is empty", ("create-skill", "--task", " ")),
    (2, "is not one of 'spec'", ("validate", ".", "--profile", "wild")),
    (3, "There is no skill at 'nowhere'", ("validate", "nowhere")),
    (3, "There is no SKILL.md in", ("evaluate", ".")),
    (3, "does not exist", ("evaluate", "--program", "nowhere.json")),
    (2, "--program excludes targets", ("evaluate", "x", "--program", "nowhere.json")),
    (2, "--data belongs to --program", ("evaluate", "--data", "x.json")),
    (2, "--model belongs to --program", ("evaluate", "--model", "offline")),
    (2, "A cap belongs to --program", ("evaluate", "--max-tokens", "5")),
    (2, "'--trials': it is not a whole number. See", ("optimize", "--trials", "x")),
    (2, "'--max-cost': it is not a number. See", ("estimate", "--max-cost", "x")),
    (2, "'--best-of': the most is 64. See", ("create-skill", "--task", "x", "--best-of", "99")),
    (2, "'--trials': the least is 1. See", ("optimize", "--trials", "0")),
    (2, "Did you mean --optimization-model, --optimizer? See", ("optimize", "--optimizr", "x")),
    (2, "One word too many: x. See", ("optimize", "x")),
    (3, "There is no library yet", ("validate",)),
    (3, "There is no library yet", ("evaluate",)),
    (3, "There is no run", ("runs", "show")),
    (3, "There is no unfinished run", ("runs", "resume")),
    (3, "There is no run", ("runs", "resume", "../../etc")),
    (3, "neither a program nor a run", ("compare", "2026-a", "2026-b")),
    (2, "there is no sealed test", ("compare", "SkillCreationProgram", "SkillCreationProgram")),
    (3, "does not exist", ("create-skill", "--task", "Do x", "--program", "nowhere.json")),
    (1, "not a saved state", ("create-skill", "--task", "Do x", "--program", "object.json")),
]


@pytest.fixture
def files(ws):
    (ws / "broken.jsonl").write_text('{"task_description": "Do x"}\n{"task_description": \n')
    (ws / "broken.json").write_text('[\n{"task_description": }]\n')
    (ws / "empty.json").write_text("[]")
    (ws / "object.json").write_text("{}")
    (ws / "file.txt").write_text("a file")


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("code", "said", "words"), CASES, ids=[" ".join(case[2])[:60] for case in CASES])
def test_an_error_is_one_sentence(cli, ws, code, said, words):
    ended = cli(*words, "--json")
    sentences = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(sentences) == 1
    assert said in sentences[0]
    assert "Traceback" not in ended.err
    assert ended.code == code
    error = json.loads(ended.out)["error"]
    assert set(error) == {"code", "message", "hint"}
    assert error["message"]
    assert not (ws / ".skill-fleet" / "runs").exists()


@pytest.mark.usefixtures("files")
def test_without_json_nothing_is_on_stdout(cli):
    for _, _, words in CASES[:3]:
        assert cli(*words).out == ""


@pytest.mark.usefixtures("own")
def test_a_metric_that_says_the_same_of_everything(cli):
    words = ("--program", "naming:Namer", "--metric", "naming:flat", "--data", "things.json", "--json")
    ended = cli("optimize", *words)
    assert ended.code == 1
    assert ended.json["status"] == "failed"
    assert ended.json["error"]["code"] == "no_signal"
    assert "error: The metric gives 0.5 to" in ended.err


def test_a_missing_key_names_its_variable(cli, ws):
    (ws / "config").mkdir()
    (ws / "config" / "config.yaml").write_text(
        "models:\n  default: big\n  registry:\n    big: {model: openai/gpt-4o-mini, api_key_env: BIG_KEY}\n"
    )
    for words in (("create-skill", "--task", "Do x"), ("optimize",)):
        ended = cli(*words, "--json")
        assert ended.code == 6
        assert ended.json["error"]["code"] == "key_missing"
        assert "BIG_KEY" in ended.err
        assert not (ws / ".skill-fleet" / "runs").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only where there is a device that is always full")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["optimizers", "--json"], 1, "The output cannot be written: No space left on device."),
        (["runs", "show", "latest", "--json"], 3, "There is no run"),
    ],
)
def test_output_to_a_full_disk_is_one_sentence(ws, words, code, said):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "skill_fleet", *words],
            cwd=ws,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == code
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
