"""The service in a process of its own, as `skill-fleet serve` starts it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Running:
    """A service under way.

    Attributes:
        url: Where it listens.
        root: Its workspace.
        process: It.
    """

    url: str
    root: Path
    process: "subprocess.Popen[str]"

    def stop(self) -> int:
        """End it as an operator does; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=60)
        return self.process.returncode

    def again(self, *options: str) -> "Running":
        """Another one at the same place."""
        return serving(self.root, "--port", self.url.rpartition(":")[2], *options)


def environment(root: Path, **more: str) -> dict[str, str]:
    """No setting, key or cache of the machine that runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SKILL_FLEET_")}
    kept.pop("DSPY_CACHEDIR", None)
    return {**kept, "XDG_CONFIG_HOME": str(root / "xdg"), **more}


def spawned(root: Path, *words: str, **environ: str) -> "subprocess.Popen[str]":
    """A command line in a process of its own; its stderr is in `stderr.txt`."""
    with (root / "stderr.txt").open("a") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "skill_fleet", *words],
            cwd=root,
            env=environment(root, **environ),
            text=True,
            stdout=subprocess.PIPE,
            stderr=stream,
        )


def serving(root: Path, *options: str, **environ: str) -> Running:
    """`skill-fleet serve` in a workspace, listening."""
    port = () if "--port" in options else ("--port", "0")
    process = spawned(root, "serve", "--json", *port, *options, **environ)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (root / "stderr.txt").read_text()
    return Running(json.loads(line)["url"], root, process)


def small_trainset() -> list[dict[str, Any]]:
    """Items of twelve groups of the shipped training set: a run on them takes a second."""
    items = json.loads((ROOT / "config" / "training" / "trainset.json").read_text())
    first: dict[str, dict[str, Any]] = {}
    for item in items:
        first.setdefault(item["group"], item)
    return list(first.values())[:12]
