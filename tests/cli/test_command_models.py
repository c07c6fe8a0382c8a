"""A command as a model, as a user has one: configured, and by its known name, from the command line."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from command_programs import alive, offline_behind_a_command, script, seen

# Answers every field that is asked for; what a user could write in an afternoon.
ANSWER = """
import hashlib, json, re, sys
said = sys.stdin.read()
asked = said[said.rindex("Respond with"):] if "Respond with" in said else ""
names = [name for name in re.findall(r"\\[\\[ ## (\\w+) ## \\]\\]", asked) if name != "completed"]
mark = hashlib.sha256(said.encode()).hexdigest()[:8]
if names:
    print("".join(f"[[ ## {name} ## ]]\\n{name} {mark}\\n\\n" for name in names) + "[[ ## completed ## ]]")
else:
    print(json.dumps({name: f"{name} {mark}" for name in re.findall(r"`(\\w+)`", asked)}))
"""


def configured(ws: Path, command: Any, **more: Any) -> None:
    entry = {"model": "command/mine", "command": list(command), **more}
    config = {"models": {"default": "mine", "registry": {"mine": entry}}, "calls": {"first_pause": 0.01}}
    (ws / "config").mkdir(exist_ok=True)
    (ws / "config" / "config.yaml").write_text(json.dumps(config))


def written(place: Path, text: str = ANSWER) -> tuple[str, ...]:
    (place / "answer.py").write_text(text)
    return (sys.executable, "-I", "-S", str(place / "answer.py"))


@pytest.fixture
def offline_command(ws):
    with offline_behind_a_command() as command:
        configured(ws, command)
        yield command


def test_create_skill_writes_a_skill_through_a_command(ws, cli, offline_command):
    done = cli("create-skill", "--task", "Write unit tests for a parser", "--json")
    assert done.code == 0, done.err
    assert not done.json["simulated"]
    assert done.json["calls"]["made"] >= 4
    assert done.json["usd"] is None
    assert list(ws.rglob("SKILL.md"))


def test_optimize_runs_and_knows_what_it_does_not_know(ws, cli, own):
    configured(ws, written(ws))
    done = cli("optimize", *own, "--json", "--yes")
    assert done.code == 0, done.err
    result = done.json
    assert result["status"] == "succeeded"
    assert result["model"] == "mine"
    assert result["usd"] is None
    assert result["usd_unknown_calls"] == result["calls"]["made"] > 0
    again = cli("optimize", *own, "--json", "--yes").json
    assert again["calls"]["made"] == 0


def test_evaluate_measures_a_program_through_a_command(ws, cli, own):
    configured(ws, written(ws))
    measured = ("--program", "naming:Namer", "--metric", "naming:length", "--data", "things.json")
    done = cli("evaluate", *measured, "--json")
    assert done.code == 0, done.err
    assert done.json["calls"]["made"] == 24


def test_a_cap_on_calls_ends_it_exactly_there(ws, cli, own):
    configured(ws, written(ws))
    done = cli("optimize", *own, "--max-calls", "20", "--json", "--yes")
    assert done.code == 5
    assert done.json["calls"]["made"] == 20


@pytest.mark.parametrize("words", [("create-skill", "--task", "x"), ("optimize", "--yes"), ("evaluate",)])
def test_a_program_that_is_missing_is_one_sentence_and_exit_6(ws, cli, own, words):
    more = own if words[0] == "optimize" else ()
    if words[0] == "evaluate":
        more = ("--program", "naming:Namer", "--metric", "naming:length", "--data", "things.json")
    done = cli(*words, *more, "--model", "command/claude")
    if done.code == 0:
        pytest.skip("claude is installed here")
    assert done.code == 6
    assert done.err.strip().splitlines()[-1] == (
        "error: The program claude of the model command/claude is not on PATH. "
        "Install it, or give its path in models.registry."
    )


def test_a_cap_on_dollars_is_refused_in_one_sentence(ws, cli, own):
    configured(ws, written(ws), price={"input_per_million": 1, "output_per_million": 1})
    done = cli("optimize", *own, "--max-cost", "1")
    assert done.code == 2
    assert done.err == (
        "error: A cap on cost or tokens cannot hold for command/mine: a command tells nobody what it used. "
        "Cap --max-calls or --max-minutes.\n"
    )


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("echo 'Not logged in · Please run /login'; exit 1", "Not logged in"),
        ('echo "You\'ve hit your session limit" >&2; exit 1', "session limit"),
        ("echo \"error: unknown option '--nope'\" >&2; exit 2", "unknown option"),
    ],
)
def test_what_every_call_will_meet_is_one_call_and_one_sentence(ws, cli, own, said, sentence):
    calls = ws / "calls"
    configured(ws, script(ws / "m", f"echo . >> {calls}; {said}"))
    for words in (("optimize", *own, "--yes"), ("create-skill", "--task", "x")):
        calls.write_text("")
        done = cli(*words)
        assert done.code == 6, done.err
        assert sentence in done.err
        assert done.err.count("error: ") - done.err.count(": error: ") == 1
        assert calls.read_text().count(".") <= 2


def test_first_interrupt_lets_what_runs_end_second_ends_it(ws, start, own):
    """A run of slow commands that fork, stopped twice: nobody is left, and the run can go on."""
    pids = ws / "pids"
    configured(ws, script(ws / "m", f"sleep 50 & echo $! >> {pids}; echo $$ >> {pids}; wait"))
    process = start("optimize", *own, "--yes")
    assert seen(lambda: pids.exists() and len(pids.read_text().split()) >= 2)
    process.send_signal(signal.SIGINT)
    while "To go on: skill-fleet runs resume" not in (said := process.stderr.readline()):
        assert said
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert seen(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))


def test_a_killed_run_leaves_nobody_and_is_gone_on_with(ws, start, cli, own):
    asked, enough, pids = (ws / name for name in ("asked", "enough", "pids"))
    pausing = f"""
import os, time
with open({str(asked)!r}, "a") as file:
    file.write(".")
if os.path.exists({str(enough)!r}) and os.path.getsize({str(asked)!r}) > int(open({str(enough)!r}).read()):
    with open({str(pids)!r}, "a") as file:
        file.write(f"{{os.getpid()}} ")
    time.sleep(100)
"""
    configured(ws, written(ws, pausing + ANSWER))
    undisturbed = cli("optimize", *own, "--json", "--yes", "--output", "a.json").json
    digest = (ws / "a.json").read_text()
    cli("cache", "clear", "--force")
    calls = undisturbed["calls"]["made"]
    assert asked.stat().st_size == calls
    enough.write_text(str(calls + calls // 3))
    process = start("optimize", *own, "--yes", "--json", "--output", "b.json")
    assert seen(lambda: pids.exists() and pids.read_text())
    process.kill()
    process.communicate()
    assert seen(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))
    enough.unlink()
    resumed = cli("runs", "resume", "--json", "--yes")
    assert resumed.code == 0, resumed.err
    assert (ws / "b.json").read_text() == digest


def test_the_models_are_listed_with_their_command(ws, cli):
    configured(ws, ["my-model", "--fast"])
    told = cli("models", "--json")
    assert told.code == 0
    entry = next(one for one in told.json["models"] if one["name"] == "mine")
    assert entry["model"] == "command/mine"
