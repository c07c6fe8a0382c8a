"""The real server, or the reason why there is none."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))

from real_server import RealServer

_NEEDED = ("gguf", "xllamacpp")


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: see Against a real server in CONTRIBUTING.md")
    from random_gguf import write_random_model

    return write_random_model(tmp_path_factory.mktemp("weights") / "random.gguf")


@pytest.fixture(scope="session")
def shared_server(weights: Path) -> Iterator[RealServer]:
    server = RealServer(weights)
    yield server
    server.kill()


@pytest.fixture
def server(shared_server: RealServer) -> RealServer:
    """A server that all tests share: each looks at differences of what it counted."""
    assert shared_server.process.poll() is None, "an earlier test has ended the server"
    return shared_server


@pytest.fixture
def own_server(weights: Path) -> Iterator[Callable[..., RealServer]]:
    """Starts servers of a test's own."""
    started: list[RealServer] = []

    def start(**options: Any) -> RealServer:
        started.append(RealServer(weights, **options))
        return started[-1]

    yield start
    for server in started:
        server.kill()
