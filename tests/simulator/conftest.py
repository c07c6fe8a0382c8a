"""A simulated provider of this process, and a plain HTTP client that knows nothing of skill-fleet."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from skill_fleet.simulator import SimulatorSettings, running

sys.path.append(str(Path(__file__).parent))  # `simulator_client`


@pytest.fixture
def provider() -> Iterator[Any]:
    """Starts simulated providers: `provider(faults=Faults(...), …)`."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Any:
            from simulator_client import Provider

            server = stack.enter_context(running(SimulatorSettings(**settings)))
            http = stack.enter_context(httpx2.Client(timeout=10, trust_env=False))
            return Provider(server, http)

        yield start
