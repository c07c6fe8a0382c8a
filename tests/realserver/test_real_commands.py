"""Commands against llama.cpp's own server. A random model writes no skill: what counts is that they end well.

Nothing crashes, a failure becomes no score, and the ledger is what the server counted.
"""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from real_server import Counted, RealServer

from running_service import spawned

pytestmark = pytest.mark.realserver

TASK = "Help our team roll back a failed Helm release"
PROGRAM = '''
import dspy


class Namer(dspy.Module):
    """Names a thing; a model that fills no form is taken at its word."""

    def __init__(self):
        super().__init__()
        self.name = dspy.Predict("task -> name")

    def forward(self, task):
        return self.name(task=task)


class Talker(dspy.Module):
    """Says something, in no form at all."""

    def __init__(self):
        super().__init__()
        self.talk = dspy.Predict("task -> name")

    def forward(self, task):
        said = dspy.settings.lm(f"{self.talk.signature.instructions} {task}")[0]
        return dspy.Prediction(name=said)


def length(gold, pred, trace=None):
    return min(len(pred.name), 100) / 100
'''


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace of its own."""
    (tmp_path / "config").mkdir()
    (tmp_path / "own.py").write_text(PROGRAM)
    items = [{"task": f"Name a {thing}.", "group": thing} for thing in "abcdefghijklmnopqrstuvwx"]
    (tmp_path / "things.json").write_text(json.dumps(items))
    return tmp_path


@pytest.fixture
def command(root: Path) -> Callable[..., tuple[int, Any, str]]:
    """Runs a command line against a server: its exit code, what it said as JSON, and on stderr."""

    def run(server: RealServer, *words: object) -> tuple[int, Any, str]:
        (root / "config" / "config.yaml").write_text(
            "models:\n  default: real\n  registry:\n    real:\n      model: llama_cpp/random\n"
            f"      api_base: {server.url}\n      max_tokens: 400\n      timeout: 20\n"
            "calls: {first_pause: 0.01, longest_pause: 0.1, outage_seconds: 2}\n"
        )
        process = spawned(root, *map(str, words), "--json")
        said, _ = process.communicate(timeout=100)
        told = (root / "stderr.txt").read_text()
        (root / "stderr.txt").unlink()
        assert "Traceback" not in told
        return process.returncode, json.loads(said.splitlines()[-1]), told

    return run


def ledger(root: Path) -> Counted:
    """Tokens of every attempt that is known to have been worked on."""
    with sqlite3.connect(root / ".skill-fleet" / "ledger.sqlite") as db:
        found = db.execute("select sum(input_tokens), sum(output_tokens) from attempt").fetchone()
    db.close()
    return Counted(found[0] or 0, found[1] or 0)


def test_a_model_is_tested_by_one_call(server: RealServer, command: Any, root: Path) -> None:
    before = server.counted()
    code, said, _ = command(server, "models", "test")
    assert code in {0, 6}, "a random model may say nothing at all in its one call"
    assert "real" in json.dumps(said)
    counted = server.counted() - before
    assert counted.prompt > 0
    assert ledger(root) == counted


def test_a_skill_is_not_pretended(server: RealServer, command: Any, root: Path) -> None:
    before = server.counted()
    code, said, told = command(server, "create-skill", "--task", TASK, "--max-calls", 12)
    assert code in {1, 5, 6}, told
    assert said["error"]["message"]
    assert not list(root.rglob("SKILL.md"))
    assert ledger(root) == server.counted() - before


def test_words_in_no_form_stop_a_search_before_it_begins(
    server: RealServer, command: Any, root: Path
) -> None:
    """Each example fails, for the answers have no form: that is no score of zero."""
    words = ("--program", "own:Namer", "--metric", "own:length", "--data", "things.json")
    before = server.counted()
    code, said, told = command(
        server, "optimize", *words, "--optimizer", "gepa", "--trials", 1, "--rounds", 1, "--max-calls", 200
    )
    assert code in {1, 5, 6}, told
    assert said.get("verdict") in {None, "not_shown"}
    assert ledger(root) == server.counted() - before


@pytest.mark.parametrize(
    ("optimizer", "threads", "codes"),
    [
        ("bootstrap_random_search", 1, {0, 5}),
        ("bootstrap_random_search", 8, {0, 5}),
        # Their proposals have a form that it never fills: gepa goes on without, miprov2 cannot.
        ("gepa", 8, {0, 5}),
        ("miprov2", 8, {1}),
    ],
)
def test_a_search_over_what_it_says_ends_with_a_result(
    server: RealServer, command: Any, root: Path, optimizer: str, threads: int, codes: set[int]
) -> None:
    words = ("--program", "own:Talker", "--metric", "own:length", "--data", "things.json")
    before = server.counted()
    code, said, told = command(
        server,
        *("optimize", *words, "--optimizer", optimizer, "--trials", 2, "--rounds", 1),
        *("--num-threads", threads, "--max-calls", 400, "--seed", threads),
    )
    assert code in codes, told
    assert said["calls"]["made"] > 15
    assert said["simulated"] is False
    assert said["status"] == ("failed" if code == 1 else "stopped" if code == 5 else "succeeded")
    counted = server.counted() - before
    assert ledger(root) == counted
    assert said["tokens"]["input"] + said["tokens"]["output"] == counted.prompt + counted.completion


def test_a_server_that_is_gone_ends_a_run_with_its_cause_and_one_that_is_back_resumes_it(
    own_server: Any, command: Any, root: Path
) -> None:
    server = own_server()
    words = ("--program", "own:Talker", "--metric", "own:length", "--data", "things.json")
    optimize = ("optimize", *words, "--optimizer", "bootstrap_random_search", "--trials", 2, "--rounds", 1)
    server.go_away()
    code, said, told = command(server, *optimize, "--max-calls", 300)
    assert code == 6, told
    assert said.get("stop_reason", "provider") == "provider"
    back = server.again()
    try:
        code, said, told = command(back, *optimize, "--max-calls", 300)
        assert code in {0, 5}, told
        assert said["calls"]["made"] > 20
    finally:
        back.kill()
