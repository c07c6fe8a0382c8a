"""A plain HTTP client of a simulated provider, which knows nothing of skill-fleet."""

import ssl
import time
from collections.abc import Callable
from typing import Any

import httpx2

from skill_fleet.simulator import Running

NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Reading the usual ones takes 40 ms a client, and nothing here is encrypted."""


def http_client(timeout: float = 60) -> httpx2.Client:
    """A plain client, with no proxy of the machine that runs the tests."""
    return httpx2.Client(timeout=timeout, trust_env=False, verify=NO_CERTIFICATES)


def polled(condition: Callable[[], object]) -> None:
    """Until a thread of the server has done what it was about to do."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


class Provider:
    """A running simulator, and what a client asks it."""

    def __init__(self, server: Running, http: httpx2.Client) -> None:
        self.server = server
        self.http = http
        self.root = server.url.removesuffix("/v1")
        self.port = int(self.root.rpartition(":")[2])

    def ask(
        self, prompt: str = "Say hello.", headers: dict[str, str] | None = None, **more: Any
    ) -> httpx2.Response:
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]
        body = {"model": "offline/rules-v1", "messages": messages, **more}
        return self.http.post(f"{self.server.url}/chat/completions", json=body, headers=headers)

    def post(self, content: bytes) -> httpx2.Response:
        return self.http.post(f"{self.server.url}/chat/completions", content=content)
