"""Nothing is reached for but the configured provider: every command in processes of its own, watched.

A hook of the interpreter writes down each connection and each name that is looked up, in the process and in
all children of it; it stands below every library.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from running_service import environment, serving, small_trainset
from skill_fleet.simulator import SimulatorSettings, running

AUDITED = Path(__file__).resolve().parents[1] / "audited"
CONFIG = """
models:
  default: {name}
  registry:
    target:
      model: openai/offline/rules-v1
      api_base: {url}
      max_tokens: 4000
"""
QUICK = ("--optimizer", "labeled_few_shot", "--rounds", "1", "--num-threads", "4", "--data", "small.json")
GEPA = ("--optimizer", "gepa", "--auto", "light", "--rounds", "1", "--num-threads", "8", "--max-calls", "60")


@dataclass(frozen=True)
class Watched:
    """A workspace whose processes are watched.

    Attributes:
        root: It.
        places: What they reached for, one line each.
    """

    root: Path
    places: Path

    @property
    def environ(self) -> dict[str, str]:
        paths = [str(AUDITED), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {"PYTHONPATH": os.pathsep.join(paths), "WATCHED_PLACES": str(self.places)}

    def run(self, *words: str, codes: tuple[int, ...] = (0,), **more: str) -> str:
        """One command line; its stdout."""
        done = subprocess.run(
            [sys.executable, "-m", "skill_fleet", *words],
            cwd=self.root,
            env=environment(self.root, **self.environ, **more),
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode in codes, done.stderr
        return done.stdout

    def reached(self) -> set[str]:
        """All places."""
        return set(self.places.read_text().split("\n")) - {""} if self.places.exists() else set()


def place(url: str) -> str:
    parts = urlsplit(url)
    return f"to {parts.hostname}:{parts.port}"


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    root = tmp_path / "ws"
    (root / "config").mkdir(parents=True)
    (root / "small.json").write_text(json.dumps(small_trainset()))
    return Watched(root, tmp_path / "places.txt")


@pytest.fixture
def provider(watched: Watched) -> Iterator[str]:
    """A provider on this machine, configured."""
    with running(SimulatorSettings()) as server:
        (watched.root / "config" / "config.yaml").write_text(CONFIG.format(name="target", url=server.url))
        yield server.url


def test_the_watch_sees_and_stops_what_it_is_there_for(watched: Watched) -> None:
    code = "import socket; socket.create_connection(('models.example', 443))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(watched.root, **watched.environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "may not reach models.example" in done.stderr
    assert watched.reached() == {"name models.example"}


@pytest.mark.slow  # seven command lines, two of them runs
def test_every_command_reaches_its_provider_only(watched: Watched, provider: str) -> None:
    watched.run("doctor", "--json", codes=(0, 1))
    watched.run("models", "--json")
    watched.run("models", "test", "target", "--json")
    watched.run("create-skill", "--task", "Review a pull request", "--json", codes=(0, 1, 4))
    watched.run("optimize", *QUICK, "--json")
    watched.run("optimize", *GEPA, "--data", "small.json", "--json", codes=(0, 5))
    watched.run(
        "evaluate", "--program", "config/optimized/skill_creator.json", "--data", "small.json", "--json"
    )
    host = urlsplit(provider).hostname
    assert watched.reached() == {place(provider), f"name {host}"}


@pytest.mark.slow  # a service, its worker and a job's process
def test_a_service_and_its_job_reach_the_provider_and_each_other_only(
    watched: Watched, provider: str
) -> None:
    service = serving(watched.root, **watched.environ)
    try:
        watched.run("jobs", "start", *QUICK, "--watch", "--json", SKILL_FLEET_SERVER=service.url)
    finally:
        service.stop()
    host = urlsplit(provider).hostname
    reached = watched.reached()
    assert place(provider) in reached, "the job's own process is watched too"
    assert reached <= {place(provider), place(service.url), f"name {host}"}


@pytest.mark.slow  # four command lines, one of them a run
def test_with_the_offline_model_nothing_is_reached_at_all(watched: Watched) -> None:
    watched.run("doctor", "--json", codes=(0, 1))
    watched.run("models", "--json")
    watched.run("create-skill", "--task", "Review a pull request", "--json", codes=(0, 1, 4))
    watched.run("optimize", *QUICK, "--json")
    watched.run(
        "evaluate", "--program", "config/optimized/skill_creator.json", "--data", "small.json", "--json"
    )
    assert watched.reached() == set()


def test_prices_are_those_that_ship_with_dspy(watched: Watched) -> None:
    code = """
from skill_fleet.config.settings import ModelSpec
from skill_fleet.llm.pricing import price_of
assert price_of(ModelSpec(model="openai/gpt-4o-mini")) is not None
assert price_of(ModelSpec(model="anthropic/claude-sonnet-4-5")) is not None
"""
    subprocess.run(
        [sys.executable, "-c", code], env=environment(watched.root, **watched.environ), check=True, timeout=60
    )
    assert watched.reached() == set()
