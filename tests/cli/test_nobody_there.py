"""An address at which no server listens, from the command line."""

import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CONFIG = """
models:
  default: remote
  registry:
    remote: {{ model: openai/offline/rules-v1, api_base: "http://127.0.0.1:{port}/v1", timeout: 5 }}
calls: {{ first_pause: 0.05, outage_seconds: 60 }}
"""


@pytest.fixture
def nobody(ws: Path) -> Iterator[int]:
    """A port that is taken, where nobody listens; the workspace's model is there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        (ws / "config").mkdir()
        (ws / "config" / "config.yaml").write_text(CONFIG.format(port=taken.getsockname()[1]))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("command", ["optimize", "create-skill", "evaluate"])
def test_it_is_given_up_after_three_attempts_and_one_sentence(
    ws: Path, cli: Any, own: tuple[str, ...], nobody: int, command: str
) -> None:
    words = {
        "optimize": ("optimize", *own, "--num-threads", 16),
        "create-skill": ("create-skill", "--task", "Write a skill for naming shops.", "--best-of", 3),
        "evaluate": ("evaluate", *own[:6], "--num-threads", 16),
    }[command]
    ended = cli(*words)
    assert ended.code == 6
    with sqlite3.connect(ws / ".skill-fleet" / "ledger.sqlite") as db:
        lines = db.execute("select state, reason, possibly_billed from attempt").fetchall()
    assert lines == [("failed", "transport", 0)] * 3
    (said,) = [line for line in ended.err.splitlines() if "failed (" in line]
    assert "failed (transport) after 3 attempts" in said
    assert f"127.0.0.1:{nobody}" in said
    assert "api_base" in said
    assert ("To go on: skill-fleet runs resume" in ended.err) == (command == "optimize")
    assert ("give the command once more" in said) == (command != "optimize")
    assert "Traceback" not in ended.err
