"""Who may in: the Host header, other sites' pages, and the key with its scope."""

from collections.abc import Mapping, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

from skill_fleet.api.dependencies import Caller
from skill_fleet.api.hosts import host_name, plain_name
from skill_fleet.api.keys import KeyGuard
from skill_fleet.api.problems import Refused

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""What needs no key: a load balancer has none."""
QUESTIONS = frozenset(
    {
        "/api/v2/optimization/estimate",
        "/api/v2/optimization/recommend",
        "/api/v2/evaluation/evaluate",
        "/api/v2/evaluation/evaluate-content",
        "/api/v2/evaluation/evaluate-batch",
        "/api/v2/skills/validate",
    }
)
"""POST requests that change nothing and spend nothing: `read` is enough for them."""


def scope_needed(method: str, path: str) -> str | None:
    """What a key must allow for a request: None, `read` or `run`. What nobody thought of needs `run`."""
    if path in OPEN_PATHS:
        return None
    return "read" if method in {"GET", "HEAD"} or path in QUESTIONS else "run"


class Gate:
    """ASGI middleware: lets in who may, and leaves in `scope["caller"]` who it is.

    Args:
        app: The application.
        names: What the server is called; see `hosts.own_names`.
        keys: Finds out who calls.
    """

    def __init__(self, app: ASGIApp, *, names: frozenset[str], keys: KeyGuard) -> None:
        self._app = app
        self._names = names
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request.

        Raises:
            Refused: `wrong_host`, `cross_site`, `unauthorized`, `too_many_failures`, `forbidden`.
        """
        if scope["type"] == "http":
            headers = _picked(scope["headers"])
            host = self._own_host(headers, scope.get("server"))
            _refuse_other_sites(headers, host, scope["method"])
            scope["caller"] = await self._caller(scope, headers)
        await self._app(scope, receive, send)

    def _own_host(self, headers: Mapping[bytes, list[bytes]], server: Sequence[object] | None) -> str:
        given = headers.get(b"host", [])
        host = given[0].decode("latin-1") if len(given) == 1 else ""
        name = host_name(host)
        # An address, unlike a name, cannot be made to point here by somebody else's DNS.
        reached = plain_name(str(server[0])) if server and server[0] else None
        if name is None or (name not in self._names and name != reached):
            raise Refused(
                "wrong_host",
                "The Host header does not name this server.",
                hint="The operator lists further names in server.allowed_hosts.",
            )
        return host.lower()

    async def _caller(self, scope: Scope, headers: Mapping[bytes, list[bytes]]) -> Caller:
        needed = scope_needed(scope["method"], scope["path"])
        if needed is None:
            return Caller()
        client = scope.get("client")
        address = str(client[0]) if client else "unknown"
        asked = f"{scope['method'][:16]} {scope['path'][:200]}"
        caller = await self._keys.caller(_bearer(headers.get(b"authorization", [])), address, asked)
        caller.need(needed)
        return caller


_READ = frozenset({b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"authorization"})


def _picked(headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    picked: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name in _READ:
            picked.setdefault(name, []).append(value)
    return picked


def _refuse_other_sites(headers: Mapping[bytes, list[bytes]], host: str, method: str) -> None:
    """A browser says where a request comes from: another site's page may at most link to ours."""
    origins = headers.get(b"origin", [])
    foreign = any(_foreign(origin.decode("latin-1"), host) for origin in origins)
    sites = headers.get(b"sec-fetch-site", [])
    if any(site not in {b"same-origin", b"none"} for site in sites):
        link = method == "GET" and headers.get(b"sec-fetch-mode") == [b"navigate"]
        foreign = foreign or not link
    if foreign:
        raise Refused("cross_site", "Requests that come from pages of other sites are refused.")


def _foreign(origin: str, host: str) -> bool:
    scheme, _, rest = origin.lower().partition("://")
    return scheme not in {"http", "https"} or rest != host


def _bearer(given: Sequence[bytes]) -> str | None:
    if len(given) != 1:
        return None
    scheme, _, key = given[0].partition(b" ")
    key = key.strip()
    return key.decode("ascii") if scheme.lower() == b"bearer" and key.isascii() and key else None
