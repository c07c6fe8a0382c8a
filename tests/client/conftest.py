"""A server that does as a test says, and the real one in a process of its own."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from running_service import ROOT, Running, serving

sys.path.append(str(Path(__file__).parent))

from scripted_server import Scripted


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """A server on a socket whose answers the test has written."""
    server = Scripted()
    yield server
    server.close()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with the shipped library, for all tests that leave it as it is but for their own jobs."""
    root = tmp_path_factory.mktemp("service")
    shutil.copytree(ROOT / "skills", root / "skills")
    running = serving(root)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service without a worker: its jobs stay in the queue."""
    running = serving(tmp_path_factory.mktemp("still"), "--no-worker")
    yield running
    running.stop()
