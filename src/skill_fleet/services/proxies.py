"""The proxies of the environment, and which addresses are reached through them."""

import base64
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from skill_fleet.llm.providers.routes import is_loopback, origin_of

_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


def proxies_in(environ: Mapping[str, str]) -> dict[str, str]:
    """The proxies that are set, by the upper-case name of the variable; lower case wins, as elsewhere."""
    found = {name: environ.get(name.lower()) or environ.get(name, "") for name in _VARIABLES}
    return {name: value for name, value in found.items() if value}


def proxy_for(url: str, environ: Mapping[str, str]) -> tuple[str, int, dict[str, str]] | None:
    """Host, port and headers of the proxy that an address is asked through; None where none is used."""
    found = proxies_in(environ)
    scheme, host, port = origin_of(url)
    address = found.get(f"{scheme.upper()}_PROXY") or found.get("ALL_PROXY")
    if address is None or is_loopback(url):
        return None
    if _bypassed(host, port, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    parts = urlsplit(address)
    if parts.hostname is None:
        return None
    headers = {}
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return parts.hostname, parts.port or 80, headers


def _bypassed(host: str, port: int, patterns: str) -> bool:
    """Whether `NO_PROXY` names a host: in full, with its port, by the end of its name, or all by `*`."""
    for pattern in (one.strip().lower().lstrip(".") for one in patterns.split(",")):
        if pattern == "*" or (pattern and pattern in {host, f"{host}:{port}"}):
            return True
        if pattern and host.endswith(f".{pattern}"):
            return True
    return False
