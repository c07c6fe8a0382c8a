"""Which addresses are this server's own: the names it answers to, and what counts as this machine."""

import functools
import ipaddress
import re
import socket
from collections.abc import Iterable

from skill_fleet.foundation.addresses import is_loopback_address
from skill_fleet.foundation.errors import ConfigError

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")


def host_name(header: str) -> str | None:
    """The name in a Host header, in lower case and without its port; None where it is not one."""
    match = _HOST.fullmatch(header)
    if match is None:
        return None
    return plain_name(match["six"] or match["name"])


@functools.lru_cache(maxsize=1024)
def plain_name(host: str) -> str:
    """A host as it is compared: lower case, no brackets, no last dot, addresses in their short form."""
    name = host.strip().lower().removeprefix("[").removesuffix("]").removesuffix(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def own_names(bound: str, allowed: Iterable[str]) -> frozenset[str]:
    """The names a server answers to: this machine, what it is bound to, and what the operator allows."""
    return LOCAL | {plain_name(bound)} | {plain_name(name) for name in allowed}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address: every address that the name stands for is a loopback.

    Raises:
        ConfigError: The name stands for no address.
    """
    name = plain_name(host)
    if not name:
        return False  # every interface
    try:
        return is_loopback_address(name)
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise ConfigError(
            f"The host '{host}' is not an address of this machine.", hint="Try --host 127.0.0.1."
        ) from None
    return bool(found) and all(is_loopback_address(str(place[4][0])) for place in found)
