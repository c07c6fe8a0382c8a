"""Put first on the path of a process: writes down every place that it, or a child of it, reaches for.

What is not this machine is refused besides; `WATCHED_PLACES` names the file.
"""

import ipaddress
import os
import sys
from typing import Any

_PLACES = os.environ.get("WATCHED_PLACES")
_NAMES = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo")


def _here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in {"", "localhost", "None"}


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event in _NAMES:
        place = args[0] if not isinstance(args[0], tuple) else args[0][0]
        _note("name", str(place), str(place))
    elif event in {"socket.connect", "socket.sendto"}:
        address = args[1]
        if isinstance(address, tuple):
            _note("to", str(address[0]), f"{address[0]}:{address[1]}")


def _note(kind: str, host: str, place: str) -> None:
    line = f"{kind} {place}\n".encode()
    descriptor = os.open(str(_PLACES), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
    if not _here(host):
        raise OSError(f"Tests may not reach {place}.")


if _PLACES:
    sys.addaudithook(_watch)
