"""A simulated provider of this process, and a plain HTTP client that knows nothing of skill-fleet."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from skill_fleet.foundation.clock import SYSTEM_CLOCK, Clock
from skill_fleet.simulator import SimulatorSettings, running

sys.path.append(str(Path(__file__).parent))  # `simulator_client`


@pytest.fixture
def provider() -> Iterator[Any]:
    """Starts simulated providers: `provider(faults=Faults(...), …)`, or by a clock: `provider(clock, …)`."""
    with ExitStack() as stack:

        def start(clock: Clock = SYSTEM_CLOCK, **settings: Any) -> Any:
            from simulator_client import Provider, http_client

            server = stack.enter_context(running(SimulatorSettings(**settings), clock))
            http = stack.enter_context(http_client())
            return Provider(server, http)

        yield start
