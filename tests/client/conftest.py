"""A server that does as a test says, and the real one in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from scripted_server import Scripted

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """A server on a socket whose answers the test has written."""
    server = Scripted()
    yield server
    server.close()


@dataclass
class Running:
    """A service in a process of its own.

    Attributes:
        url: Where it listens.
        root: Its workspace.
        start: Starts one at the same place once more.
        process: The process.
    """

    url: str
    root: Path
    start: Callable[[], "Running"]
    process: "subprocess.Popen[str]"

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=20)


def environment(root: Path) -> dict[str, str]:
    """No setting, key or cache of the machine that runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SKILL_FLEET_")}
    kept.pop("DSPY_CACHEDIR", None)
    return {**kept, "XDG_CONFIG_HOME": str(root / "xdg")}


def serving(root: Path, *options: str) -> Running:
    """`skill-fleet serve` in a workspace, listening."""
    process = subprocess.Popen(
        [sys.executable, "-m", "skill_fleet", "serve", "--json", "--port", "0", *options],
        cwd=root,
        env=environment(root),
        text=True,
        stdout=subprocess.PIPE,
        stderr=(root / "serve.stderr").open("a"),
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, (root / "serve.stderr").read_text()
    url = json.loads(line)["url"]
    again = ("--port", url.rpartition(":")[2])
    return Running(url, root, lambda: serving(root, *again), process)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with the shipped library, for all tests that leave it as it is but for their own jobs."""
    root = tmp_path_factory.mktemp("service")
    shutil.copytree(ROOT / "skills", root / "skills")
    running = serving(root)
    yield running
    running.stop()


@pytest.fixture
def own_service(tmp_path: Path) -> Iterator[Running]:
    """A service of the test's own, in an empty workspace."""
    running = serving(tmp_path)
    yield running
    if running.process.poll() is None:
        running.stop()
