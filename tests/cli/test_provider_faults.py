"""A provider that refuses, dies or comes back, as a user at the command line meets it."""

import hashlib
import json
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from skill_fleet.simulator import Faults, Running, SimulatorSettings, running
from warm_commands import warm_command

OUTAGE = 1.5
CONFIG = """
models:
  default: remote
  registry:
    remote: {{ model: openai/offline/rules-v1, api_base: "{url}", max_tokens: 800, timeout: 60 }}
calls: {{ first_pause: 0.1, longest_pause: 1.0, outage_seconds: {outage} }}
"""
METRIC = '''
def letters(gold, pred, trace=None):
    """Depends on every letter of the answer: another answer, another program."""
    return sum(map(ord, gold.task + str(pred.name))) % 11 / 10
'''


def use(root: Path, server: Running) -> None:
    (root / "config").mkdir(exist_ok=True)
    (root / "config" / "config.yaml").write_text(CONFIG.format(url=server.url, outage=OUTAGE))


@pytest.fixture
def searched(ws: Path, own: tuple[str, ...]) -> tuple[str, ...]:
    """Options of a small search whose scores depend on the answers."""
    with (ws / "naming.py").open("a") as program:
        program.write(METRIC)
    words = [word.replace("naming:length", "naming:letters") for word in own]
    return (
        *words,
        "--optimizer",
        "bootstrap_random_search",
        "--trials",
        "3",
        "--num-threads",
        "8",
        "--output",
        "found.json",
        "--json",
    )


REFUSED = {"auth": "auth", "quota": "billing", "context": "context_window_exceeded", "not_found": "model"}


@pytest.mark.parametrize("fault", REFUSED)
@pytest.mark.parametrize("command", ["optimize", "create-skill", "evaluate"])
def test_a_mistake_of_the_configuration_costs_one_request_and_says_one_sentence(
    ws: Path, cli: Any, own: tuple[str, ...], command: str, fault: str
) -> None:
    program = own[:6]
    words = {
        "optimize": ("optimize", *own, "--num-threads", 16),
        "create-skill": ("create-skill", "--task", "Write a skill for naming shops.", "--best-of", 3),
        "evaluate": ("evaluate", *program, "--num-threads", 16),
    }[command]
    with running(SimulatorSettings(faults=Faults(rates={fault: 1.0}), latency=0.02)) as server:
        use(ws, server)
        ended = cli(*words)
        assert server.totals().requests == 1
    assert ended.code == 6
    said = [line for line in ended.err.splitlines() if "failed (" in line]
    assert len(said) == 1
    assert REFUSED[fault] in said[0]
    assert "Traceback" not in ended.err


def optimized(ws: Path, words: tuple[str, ...]) -> tuple[int, dict[str, Any], str]:
    """A command line in a process of its own: exit code, JSON result, what it said."""
    done = subprocess.run(
        [warm_command(), *words],
        cwd=ws,
        text=True,
        capture_output=True,
        timeout=100,
        check=False,
    )
    return done.returncode, json.loads(done.stdout), done.stderr


def program_of(ws: Path, result: dict[str, Any]) -> str:
    """The digest of the program that a run found, wherever it put it."""
    (found,) = (ws / ".skill-fleet" / "runs" / result["run_id"]).glob("candidate.json")
    return hashlib.sha256(found.read_bytes()).hexdigest()


def settled(ws: Path) -> list[str]:
    with sqlite3.connect(ws / ".skill-fleet" / "ledger.sqlite") as db:
        return [key for (key,) in db.execute("select key from attempt where state='settled' order by key")]


@pytest.mark.timeout(300)  # a busy machine takes several times as long
def test_a_provider_that_dies_stops_the_run_and_back_again_it_ends_in_the_same_program(
    tmp_path: Path, ws: Path, searched: tuple[str, ...]
) -> None:
    clean = tmp_path / "clean"
    clean.mkdir()
    for name in ("naming.py", "things.json"):
        (clean / name).write_text((ws / name).read_text())
    with running(SimulatorSettings()) as server:
        use(clean, server)
        code, undisturbed, said = optimized(clean, ("optimize", *searched))
        assert code == 0, said
        asked = server.totals().requests
    with running(SimulatorSettings(die_after=asked // 2, latency=0.01)) as server:
        use(ws, server)
        code, stopped, said = optimized(ws, ("optimize", *searched))
        assert code == 6
        assert (stopped["status"], stopped["stop_reason"]) == ("stopped", "provider")
        assert stopped["error"]["message"]
        events = (ws / ".skill-fleet" / "runs" / stopped["run_id"] / "events.jsonl").read_text()
        told = [event for event in map(json.loads, events.splitlines()) if event["kind"] == "finished"]
        assert [event["error"] for event in told] == [stopped["error"]]
        assert stopped["resume"] == f"skill-fleet runs resume {stopped['run_id']}"
        assert stopped["resume"] in said
        assert stopped["calls"]["made"] == server.totals().requests, "each attempt is counted"
        answered, *_, last = (record.offset for record in server.records()[asked // 2 - 1 :])
        # As long as the breaker bears it, and what a busy machine takes for the last of its probes.
        assert OUTAGE - 0.5 <= last - answered <= OUTAGE + 15
        before = settled(ws)
        assert len(before) == asked // 2
        server.change(die_after=None)
        code, resumed, said = optimized(ws, ("runs", "resume", stopped["run_id"], "--json"))
        assert code == 0, said
        assert resumed["calls"]["made"] == server.totals().requests
    assert program_of(ws, resumed) == program_of(clean, undisturbed)
    for name in ("verdict", "baseline", "optimized", "accuracy", "interval"):
        assert resumed[name] == undisturbed[name]
    after = settled(ws)
    assert set(before) < set(after)
    assert len(after) == len(set(after)) == len(settled(clean)), "and nothing was paid twice"


def steer(server: Running, **settings: Any) -> None:
    """Change a simulated provider while it runs, as anybody can on its machine."""
    root = server.url.removesuffix("/v1")
    httpx2.post(f"{root}/simulator/settings", json=settings, timeout=5).raise_for_status()


@pytest.mark.slow  # three runs in processes of their own
@pytest.mark.timeout(300)  # a busy machine takes several times as long
def test_a_key_that_is_revoked_in_the_middle_stops_the_run_and_mended_it_ends_in_the_same_program(
    tmp_path: Path, ws: Path, searched: tuple[str, ...]
) -> None:
    clean, words = tmp_path / "clean", ("optimize", *searched, "--num-threads", "16")
    clean.mkdir()
    for name in ("naming.py", "things.json"):
        (clean / name).write_text((ws / name).read_text())
    with running(SimulatorSettings()) as server:
        use(clean, server)
        code, undisturbed, said = optimized(clean, words)
        assert code == 0, said
        asked = server.totals().requests
    with running(SimulatorSettings(latency=0.5, latency_sigma=0.2)) as server:
        use(ws, server)
        with ThreadPoolExecutor(1) as pool:
            under_way = pool.submit(optimized, ws, words)
            while server.totals().requests < asked // 3:
                assert not under_way.done()
                time.sleep(0.005)
            steer(server, faults={"auth": 1.0})
            code, stopped, said = under_way.result()
        assert code == 6
        assert (stopped["status"], stopped["stop_reason"]) == ("stopped", "provider")
        assert (stopped["error"]["code"], stopped["error"]["attempts"]) == ("auth", 1)
        assert stopped["resume"] in said
        assert len([line for line in said.splitlines() if "failed (auth)" in line]) == 1
        refused = server.totals().by_fault["auth"]
        assert 1 <= refused <= 16, "at most as many as were under way when the first was refused"
        assert stopped["calls"]["made"] == server.totals().requests
        steer(server, faults={}, latency=0.0)
        before = settled(ws)
        code, resumed, said = optimized(ws, ("runs", "resume", stopped["run_id"], "--json"))
        assert code == 0, said
        assert resumed["calls"]["made"] == server.totals().requests == asked + refused, "paid once"
    assert set(before) < set(settled(ws))
    assert program_of(ws, resumed) == program_of(clean, undisturbed)
    for name in ("verdict", "baseline", "optimized", "accuracy", "interval"):
        assert resumed[name] == undisturbed[name]


def configured(ws: Path, server: Running, calls: str) -> None:
    use(ws, server)
    file = ws / "config" / "config.yaml"
    file.write_text(file.read_text().split("calls:")[0] + f"calls: {{ first_pause: 0.01, {calls} }}\n")


def test_attempts_are_as_configured(ws: Path, cli: Any) -> None:
    for attempts in (1, 4):
        with running(SimulatorSettings(faults=Faults(rates={"malformed": 1.0}, in_a_row=99))) as server:
            configured(ws, server, f"attempts: {attempts}")
            ended = cli("create-skill", "--task", "Write a skill for naming shops.", "--json")
            assert server.totals().requests == attempts
        assert ended.code == 6
        error = ended.json["error"]
        assert (error["attempts"], error["finish_reason"]) == (attempts, None)
        assert (f"after {attempts} attempts" in ended.err) == (attempts > 1)


@pytest.mark.parametrize("command", ["evaluate", "optimize"])
def test_past_the_share_that_may_fail_the_command_ends_with_the_cause(
    ws: Path, cli: Any, own: tuple[str, ...], command: str
) -> None:
    """Withheld answers are excluded and reported as long as they are few enough."""
    words = {
        "evaluate": ("evaluate", *own[:6], "--num-threads", 4, "--json"),
        "optimize": ("optimize", *own, "--json"),
    }[command]
    faults = Faults(rates={"content_filter": 0.2}, in_a_row=99)
    with running(SimulatorSettings(faults=faults, seed=3)) as server:
        configured(ws, server, "max_failed_share: 0.0")
        ended = cli(*words)
        assert ended.code == 6
        assert "failed (content_filter, finish_reason content_filter)" in ended.err
        error = ended.json["error"]
        assert (error["attempts"], error["finish_reason"]) == (1, "content_filter")
        configured(ws, server, "max_failed_share: 1.0")
        ended = cli(*words)
        assert ended.code == 0, ended.err
        scores = ended.json
        if command == "evaluate":
            whys = {(one["reason"], one["attempts"], one["finish_reason"]) for one in scores["excluded"]}
            assert whys == {("content_filter", 1, "content_filter")}
        if command == "optimize":
            assert scores["calls"]["excluded"] > 0
            assert any(one["code"] == "examples_excluded" for one in scores["warnings"])
