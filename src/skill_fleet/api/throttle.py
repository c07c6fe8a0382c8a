"""Refused keys counted by address, so that guessing is slow and cannot fill a log."""

import ipaddress
from collections import OrderedDict

from skill_fleet.foundation.clock import Clock


class FailedKeys:
    """How often each address was refused lately, in bounded memory.

    Args:
        clock: Time.
        limit: Refusals in a window after which an address has to wait for its end.
        seconds: The window.
        most: Addresses remembered; the longest unseen is forgotten first.
    """

    def __init__(self, clock: Clock, *, limit: int = 10, seconds: float = 60.0, most: int = 4096) -> None:
        self._clock = clock
        self._limit = limit
        self._seconds = seconds
        self._most = most
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds until an unknown key from this address is looked at again; 0 where it is at once."""
        began, count = self._seen.get(_network(address), (0.0, 0))
        left = began + self._seconds - self._clock.monotonic()
        return left if count >= self._limit and left > 0 else 0.0

    def failed(self, address: str) -> int:
        """Note a refusal; how many there were in this window."""
        now, network = self._clock.monotonic(), _network(address)
        began, count = self._seen.pop(network, (now, 0))
        if now - began >= self._seconds:
            began, count = now, 0
        self._seen[network] = (began, count + 1)
        while len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return count + 1


def _network(address: str) -> str:
    """One client: an IPv4 address, or the 64 bits of IPv6 that one customer is given."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
