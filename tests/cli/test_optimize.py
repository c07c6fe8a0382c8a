"""`optimize`, `estimate` and `runs`, through the command line."""

import json
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from skill_fleet.cli.waiting import waited


def ledger(ws):
    with closing(sqlite3.connect(ws / ".skill-fleet" / "ledger.sqlite")) as db:
        return db.execute("select key, state, run from attempt").fetchall()


def test_a_run_with_json_is_one_json_value(cli, ws, own):
    ended = cli("optimize", *own, "--json")
    assert ended.code == 0
    result = ended.json
    assert result["status"] == "succeeded"
    assert result["simulated"] is True
    assert result["usd"] == 0
    assert result["artifact"] == "config/optimized/namer.json"
    assert json.loads((ws / ".skill-fleet" / "runs" / result["run_id"] / "result.json").read_text()) == result
    assert (ws / result["report"]).exists()
    assert re.search(r"^Baseline: \d+ examples …$", ended.err, re.MULTILINE)
    assert "Round 1:" in ended.err
    assert "[dspy" not in ended.err
    assert "INFO" not in ended.err


def test_a_run_is_told_in_two_minutes(cli, own):
    ended = cli("optimize", *own, "--quiet")
    assert ended.code == 0
    assert ended.err == ""
    for word in (
        "baseline",
        "optimized",
        "verdict",
        "calls",
        "cost",
        "$0",
        "artifact",
        "report.md",
        "SIMULATED",
    ):
        assert word in ended.out
    assert all(line == line.rstrip() for line in ended.out.splitlines())
    listed = cli("runs", "list", "--json").lines
    assert [run["status"] for run in listed] == ["succeeded"]
    assert "succeeded" in cli("runs", "list").out
    assert cli("runs", "show").out == ended.out
    assert cli("runs", "show", listed[0]["run_id"][:12], "--json").json["run_id"] == listed[0]["run_id"]


def test_a_price_spends_nothing(cli, ws, own):
    for words in (("estimate", *own), ("optimize", *own, "--dry-run")):
        value = cli(*words, "--json").json
        assert value["usd"] == [0, 0]
        assert 0 < value["calls"][0] <= value["calls"][1]
        assert not (ws / ".skill-fleet").exists()
    told = cli("estimate", *own)
    assert told.code == 0
    assert "Nothing was spent." in told.out


def test_a_profile_says_what_it_takes_and_took(cli, ws, own):
    ended = cli("estimate", *own, "--profile", "3")
    assert ended.code == 0
    assert "The profile runs 3 training examples with offline: about 3 to 4 calls and $0." in ended.err
    assert "Sized by 3 training examples with offline. That took 3 calls, " in ended.out
    assert "Nothing was spent" not in ended.out
    again = cli("optimize", *own, "--profile", "3", "--dry-run", "--json").json
    took = again["profile"]
    assert (took["examples"], took["calls"], took["usd"]) == (3, 0, 0), "the journal has them"
    assert cli("runs", "list", "--json").out.strip() in {"", "[]"}, "no run was begun"
    assert cli("estimate", *own, "--profile", "3", "--max-calls", "0").code == 0, "nothing is to be paid"
    assert cli("estimate", *own, "--profile", "8", "--max-calls", "1").code == 5


def test_trials_alone_switch_auto_off_and_flags_outrank_files(cli, ws, own, monkeypatch):
    from skill_fleet.services import optimization

    seen = []
    monkeypatch.setattr(optimization, "make_plan", lambda request, _loaded: seen.append(request) or 1 / 0)

    def asked(*words):
        cli("optimize", *words)
        return seen[-1]

    assert (asked().auto, asked().trials) == ("light", None)
    assert (asked("--trials", 3).auto, asked("--trials", 3).trials) == (None, 3)
    (ws / "config").mkdir()
    (ws / "config" / "config.yaml").write_text(
        "optimization: {trials: 9, rounds: 5}\nbudget: {max_calls: 7}\n"
    )
    assert (asked().auto, asked().trials) == (None, 9)
    assert (asked("--auto", "heavy").auto, asked("--auto", "heavy").trials) == ("heavy", None)
    assert asked().rounds == 5
    assert asked("--rounds", 1).rounds == 1
    assert asked().limits.calls == 7
    assert asked("--max-calls", 3).limits.calls == 3
    monkeypatch.setenv("SKILL_FLEET_OPTIMIZATION__ROUNDS", "4")
    assert asked().rounds == 4
    assert asked("--data", "a.json").data == asked("--training-data", "a.json").data == "a.json"
    given = asked(
        "--module", "write", "--module", "plan", "--holdout", "a", "--holdout", "b", "--judge-model", "x/y"
    )
    assert given.modules == ("write", "plan")
    assert given.holdout == ("a", "b")
    assert given.models == {"judge": "x/y"}


def test_the_output_is_meant_from_where_one_stands(cli, ws, own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [str(ws / "things.json") if word == "things.json" else word for word in own]
    ended = cli("optimize", "--workspace", ws, *words, "--output", "here/", "--json")
    assert ended.json["artifact"] == str(tmp_path / "here" / "namer.json")
    assert (tmp_path / "here" / "namer.manifest.json").exists()


def test_a_cap_ends_a_run_and_a_raised_one_goes_on(cli, ws, own):
    ended = cli("optimize", *own, "--max-calls", 15, "--json")
    assert ended.code == 5
    assert ended.json["stop_reason"] == "budget"
    assert ended.json["calls"]["made"] == 15
    run = ended.json["run_id"]
    assert f"To go on: skill-fleet runs resume {run}" in ended.err
    assert cli("cache", "clear").code == 1
    gone = cli("runs", "resume", "--max-calls", 100_000, "--json")
    assert gone.code == 0
    assert gone.json["run_id"] == run
    keys = [key for key, state, _ in ledger(ws) if state == "settled"]
    assert len(keys) == len(set(keys))
    over = cli("runs", "resume", run, "--json")
    assert over.code == 1
    assert over.json["error"]["code"] == "run_over"


def test_clearing_the_cache_leaves_the_ledger(cli, ws, own):
    assert cli("optimize", *own, "--max-calls", 5, "--quiet").code == 5
    before = ledger(ws)
    refused = cli("cache", "clear", "--json")
    assert refused.json["error"]["code"] == "needed"
    assert cli("cache", "stats", "--json").json["stats"]["responses"] == 5
    cleared = cli("cache", "clear", "--force", "--json")
    assert cleared.json["removed"] == 5
    assert cli("cache", "stats", "--json").json["stats"]["responses"] == 0
    assert ledger(ws) == before


def test_what_a_program_is_worth_and_which_is_better(cli, own):
    assert cli("optimize", *own, "--quiet").code == 0
    program = "config/optimized/namer.json"
    measured = cli(
        "evaluate", "--program", program, "--data", "things.json", "--metric", "naming:length", "--json"
    )
    assert measured.code == 0
    assert measured.json["examples"] == len(measured.json["items"]) == 24
    assert 0 < measured.json["mean"] < 1
    first = cli("compare", "naming:Namer", program, "--json").json
    assert first["verdict"] == "not_shown"
    assert first["data"] == "the sealed test"
    assert first["a"]["mean"] is not None
    assert first["calls"]["made"] == 0
    assert first["test_reads"] == 1
    assert cli("compare", "naming:Namer", program, "--json").json["test_reads"] == 1
    assert cli("compare", "latest", "latest", "--data", "things.json", "--metric", "naming:length").code == 0
    assert cli("compare", "SkillCreationProgram", program).code == 2


def test_ctrl_c_stops_and_the_run_goes_on(cli, ws, own, start):
    (ws / "slow").write_text("0.3")
    with start("optimize", *own, "--json") as process:
        said = ""
        while "Search" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    result = json.loads(out)
    assert (result["status"], result["stop_reason"]) == ("stopped", "interrupted")
    assert f"To go on: skill-fleet runs resume {result['run_id']}" in err
    assert "Traceback" not in said + err
    (ws / "slow").unlink()
    gone = cli("runs", "resume", result["run_id"], "--json")
    assert gone.code == 0
    assert gone.json["status"] == "succeeded"
    keys = [key for key, state, _ in ledger(ws) if state == "settled"]
    assert len(keys) == len(set(keys))


def test_a_second_ctrl_c_ends_at_once(ws):
    script = (
        "import time\n"
        "from skill_fleet.cli.waiting import waited\n"
        "tell = lambda text: lambda: print(text, flush=True)\n"
        "work = lambda: print('ready', flush=True) or time.sleep(100)\n"
        "waited(work, on_first=tell('first'), on_second=tell('second'))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "first\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "second\n"
        assert process.wait(60) == 130, "the work has 100 seconds to go"


def test_work_gives_its_result_or_what_it_raised():
    nothing = dict.fromkeys(("on_first", "on_second"), lambda: None)
    before = signal.getsignal(signal.SIGINT)
    assert waited(lambda: 7, **nothing) == 7
    with pytest.raises(KeyError, match="oh"):
        waited(lambda: {}["oh"], **nothing)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_reader_that_goes_away_is_no_error(ws):
    (ws / "x").mkdir()
    (ws / "x" / "SKILL.md").write_text("---\nname: x\ndescription: Does x.\n---\n\nDo it.\n")
    line = f"{sys.executable} -m skill_fleet validate --json {'. ' * 40} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], cwd=ws, text=True, capture_output=True, check=True)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_what_could_be_seen_is_said_before_and_price_and_truth_after(cli, own):
    told = cli("estimate", *own)
    assert re.search(r"^would be seen  .*differences assumed to spread by 0\.15", told.out, re.MULTILINE)
    ended = cli("optimize", *own)
    assert re.search(
        r"^(Expected to show on the sealed test: |No difference can be shown on )",
        ended.err,
        re.MULTILINE,
    )
    value = cli("runs", "show", "--json").json
    low, high = value["estimate"]["calls"]
    out = re.sub(" +", " ", ended.out)
    made = value["calls"]["made"]
    assert re.search(rf"^calls {low:,} to {high:,} {made:,}( below the estimate)?$", out, re.MULTILINE)


def test_what_lay_above_the_estimate_is_said(cli, ws, own):
    result = cli("optimize", *own, "--json").json
    file = ws / ".skill-fleet" / "runs" / result["run_id"] / "result.json"
    result["estimate"]["calls"] = [1, 2]
    result["usd"], result["usd_range"] = None, [0.0, None]
    file.write_text(json.dumps(result))
    out = re.sub(" +", " ", cli("runs", "show").out)
    assert f"calls 1 to 2 {result['calls']['made']} above the estimate\n" in out
    assert "cost $0 unknown\n" in out
