"""A provider whose every answer is a 503 for a while, and a search of one thread: nobody else asks it."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from skill_fleet.simulator import Faults, Running, SimulatorSettings, running

CONFIG = """
models:
  default: remote
  registry:
    remote: {{ model: openai/offline/rules-v1, api_base: "{url}", max_tokens: 800, timeout: 20 }}
calls: {{ attempts: 4, first_pause: 0.1, longest_pause: 1.0, outage_seconds: {outage} }}
"""
DOWN, UP = {"unavailable": 1.0}, {"unavailable": 0.0}
SETTINGS = SimulatorSettings(faults=Faults(in_a_row=10_000), latency=0.02)
SAME = ("baseline", "optimized", "verdict", "interval", "published")


def until(reached: Callable[[], bool]) -> None:
    patience = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < patience
        time.sleep(0.01)


def use(ws: Path, server: Running, outage: float) -> None:
    (ws / "config").mkdir(exist_ok=True)
    (ws / "config" / "config.yaml").write_text(CONFIG.format(url=server.url, outage=outage))


def ended(command: Popen[str]) -> tuple[int, dict[str, Any], str]:
    out, said = command.communicate(timeout=100)
    return command.returncode, json.loads(out), said


def words(own: tuple[str, ...]) -> tuple[str, ...]:
    return ("optimize", *own[:-1], "1", "--output", "found.json", "--json")


def programs(ws: Path, result: dict[str, Any]) -> str:
    return (ws / ".skill-fleet" / "runs" / result["run_id"] / "candidate.json").read_text()


@pytest.mark.slow  # four commands, processes of their own, and outages in real time
def test_a_short_one_is_waited_out_and_a_long_one_stops_the_run_that_ends_the_same_when_resumed(
    ws: Path, start: Any, own: tuple[str, ...]
) -> None:
    found = {}
    with running(SETTINGS) as server:
        use(ws, server, 30.0)
        code, found["undisturbed"], said = ended(start(*words(own)))
        assert code == 0, said
        asked = server.totals().requests
    with running(SETTINGS) as server:
        use(ws, server, 30.0)
        command = start(*words(own), "--output", "short.json")
        until(lambda: server.totals().requests >= asked // 2)
        server.change(faults=DOWN)
        failed = server.totals().by_fault.get("unavailable", 0)
        until(lambda: server.totals().by_fault.get("unavailable", 0) > failed)
        time.sleep(4.0)  # longer than a call's own attempts last
        server.change(faults=UP)
        code, found["short"], said = ended(command)
        assert code == 0, said
        assert server.totals().answered == asked
        assert found["short"]["calls"]["made"] == server.totals().requests
    with running(SETTINGS) as server:
        use(ws, server, 4.0)
        command = start(*words(own), "--output", "long.json")
        until(lambda: server.totals().requests >= asked // 2)
        server.change(faults=DOWN)
        began = time.monotonic()
        code, stopped, said = ended(command)
        assert 3.5 <= time.monotonic() - began <= 4.0 + 40.0, "and what a busy machine takes"
        assert (code, stopped["status"], stopped["stop_reason"]) == (6, "stopped", "provider")
        assert "failed (server)" in stopped["error"]["message"]
        assert f"skill-fleet runs resume {stopped['run_id']}" in said
        assert "Traceback" not in said
        server.change(faults=UP)
        code, found["long"], said = ended(start("runs", "resume", stopped["run_id"], "--json"))
        assert code == 0, said
        assert server.totals().answered == asked, "nothing was paid for twice"
    for result in found.values():
        assert programs(ws, result) == programs(ws, found["undisturbed"])
        assert all(result[name] == found["undisturbed"][name] for name in SAME)
