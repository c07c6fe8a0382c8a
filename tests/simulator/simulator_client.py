"""A plain HTTP client of a simulated provider, which knows nothing of skill-fleet."""

from typing import Any

import httpx2

from skill_fleet.simulator import Running


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
