"""A plain HTTP client of a simulated provider, which knows nothing of skill-fleet."""

import ssl
from typing import Any

import httpx2

from skill_fleet.simulator import Running

NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Reading the usual ones takes 40 ms a client, and nothing here is encrypted."""


def http_client(timeout: float = 10) -> httpx2.Client:
    """A plain client, with no proxy of the machine that runs the tests."""
    return httpx2.Client(timeout=timeout, trust_env=False, verify=NO_CERTIFICATES)


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
