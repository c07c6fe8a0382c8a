"""What counts as this machine."""

import ipaddress


def is_loopback_address(address: str) -> bool:
    """Whether an IP address is this machine's own; one of IPv6 may name a zone, or stand for one of IPv4.

    Raises:
        ValueError: It is no IP address.
    """
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)
