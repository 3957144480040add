"""Whose address it is."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

# Remembered, because a kept connection asks again for each of its calls.
address_of = lru_cache(maxsize=4096)(ip_address)


@lru_cache(maxsize=4096)
def unit(text: str) -> str:
    """Who counts as one client: an IPv4 address, or the /64 that one IPv6 customer is given."""
    return unit_of(ip_address(text))


@lru_cache(maxsize=4096)
def text_of(address: IPv4Address | IPv6Address) -> str:
    return str(address)


@lru_cache(maxsize=4096)
def unit_of(address: IPv4Address | IPv6Address) -> str:
    # A socket for both families writes 192.0.2.1 as ::ffff:192.0.2.1, and all those share one /64.
    plain = address if isinstance(address, IPv4Address) else address.ipv4_mapped or address
    return str(plain) if isinstance(plain, IPv4Address) else plain.exploded[:19]
