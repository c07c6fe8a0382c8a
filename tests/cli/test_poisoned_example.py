"""One example whose request always fails: it is left out, and the provider is not taken to be away."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from skill_fleet.simulator import SimulatorSettings, running
from skill_fleet.simulator.script import Rule

CONFIG = """
models:
  default: remote
  registry:
    remote: {{ model: openai/offline/rules-v1, api_base: "{url}", max_tokens: 800, timeout: 5 }}
calls: {{ first_pause: 0.2, longest_pause: 1.0, outage_seconds: 6 }}
"""


def data(ws: Path, poisoned: int) -> None:
    words = ["apples", "bolts", "clocks", "drums", "easels", "flutes", "gloves", "hats"]
    words[poisoned] += " POISONED"
    rows = [{"task": f"Name a shop for {word}."} for word in words]
    (ws / "eight.json").write_text(json.dumps(rows))


@pytest.mark.parametrize(
    ("threads", "poisoned", "fault"),
    [
        (1, 3, "server_error"),
        (1, 7, "reset"),
        (1, 0, "server_error"),
        (8, 0, "server_error"),
        (8, 3, "malformed"),
    ],
)
def test_it_is_one_exclusion(
    ws: Path, cli: Any, own: tuple[str, ...], threads: int, poisoned: int, fault: str
) -> None:
    data(ws, poisoned)
    words = [word.replace("things.json", "eight.json") for word in own[:6]]
    script = (Rule(re.compile("POISONED"), None, fault, None),)
    with running(SimulatorSettings(script=script)) as server:
        (ws / "config").mkdir(exist_ok=True)
        (ws / "config" / "config.yaml").write_text(CONFIG.format(url=server.url))
        ended = cli("evaluate", *words, "--num-threads", threads, "--json")
    assert ended.code == 0, ended.err
    assert len(ended.json["excluded"]) == 1
