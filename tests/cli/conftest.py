"""A workspace of its own and a command line in this process, for tests of the terminal."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from skill_fleet.cli.main import main

PROGRAM = '''
"""A program and metrics of a user's own."""
import time
from pathlib import Path

import dspy


class Namer(dspy.Module):
    def __init__(self):
        super().__init__()
        self.name = dspy.Predict("task -> name")

    def forward(self, task):
        return self.name(task=task)


def length(gold, pred, trace=None):
    """Varies from example to example, and takes its time where somebody asks for that."""
    slow = Path(__file__).with_name("slow")
    if slow.exists():
        time.sleep(float(slow.read_text()))
    return (len(gold.task) * 7 % 10) / 10


def flat(gold, pred):
    return 0.5
'''
THINGS = (
    "anvil barometer canoe dynamo easel funnel gyroscope harpoon inkwell jigsaw kettle lantern "
    "mandolin nutcracker otoscope pulley quiver rudder sextant trowel umbrella viola winch xylophone"
).split()


@dataclass(frozen=True)
class Ended:
    """How a command line ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on stdout."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """One JSON value a line."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """No setting, key or cache of the machine that runs the tests."""
    import os

    for name in list(os.environ):
        if name.startswith("SKILL_FLEET_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    for name in ("DSPY_CACHEDIR", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def ws(tmp_path, monkeypatch):
    """An empty workspace, and the current directory."""
    root = tmp_path / "ws"
    root.mkdir()
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def cli(ws, capsys):
    """Runs a command line in this process."""

    def run(*words: object) -> Ended:
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return run


@pytest.fixture
def own(ws):
    """A small program of a user's own and its data; options that optimize it in a second."""
    (ws / "naming.py").write_text(PROGRAM)
    items = [{"task": f"Name a shop that sells nothing but a {thing}.", "group": thing} for thing in THINGS]
    (ws / "things.json").write_text(json.dumps(items))
    return (
        *("--program", "naming:Namer", "--metric", "naming:length", "--data", "things.json"),
        *("--optimizer", "gepa", "--trials", "1", "--rounds", "1", "--num-threads", "2"),
    )


@pytest.fixture
def start(ws):
    """Starts a command line in a process of its own."""

    def run(*words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "skill_fleet", *words],
            cwd=ws,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    return run
