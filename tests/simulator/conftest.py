"""A simulated provider of this process, and a plain HTTP client that knows nothing of skill-fleet."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest

from skill_fleet.simulator import Running, SimulatorSettings, running


class Provider:
    """A running simulator, and what a client asks it."""

    def __init__(self, server: Running, http: httpx2.Client) -> None:
        self.server = server
        self.http = http
        self.root = server.url.removesuffix("/v1")

    def ask(
        self, prompt: str = "Say hello.", headers: dict[str, str] | None = None, **more: Any
    ) -> httpx2.Response:
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]
        body = {"model": "offline/rules-v1", "messages": messages, **more}
        return self.http.post(f"{self.server.url}/chat/completions", json=body, headers=headers)

    def post(self, content: bytes) -> httpx2.Response:
        return self.http.post(f"{self.server.url}/chat/completions", content=content)


@pytest.fixture
def provider() -> Iterator[Any]:
    """Starts simulated providers: `provider(faults=Faults(...), …)`."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Provider:
            server = stack.enter_context(running(SimulatorSettings(**settings)))
            http = stack.enter_context(httpx2.Client(timeout=10, trust_env=False))
            return Provider(server, http)

        yield start
