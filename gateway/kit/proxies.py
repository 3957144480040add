"""Who called, when a load balancer did for them.

A proxy adds at the right whom it was called by. So what stands there is its word, and what stands to the left
of the first address that is no proxy of ours is that caller's, who may claim anything. What is unclear counts
as the proxy's own: whoever makes it so gets at nobody else's limits, and shares one with all who do.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

from multidict import CIMultiDictProxy

from gateway.kit.addresses import address_of

Address: TypeAlias = IPv4Address | IPv6Address
Proxies: TypeAlias = tuple[IPv4Network | IPv6Network, ...]

# Proxies of ours that a request may pass one after the other: how much of a long header is looked at.
HOPS_MAX = 8
ENTRY_CHARACTERS_MAX = 512
# With a port or without, as RFC 7239 writes both families and as balancers write X-Forwarded-For.
NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?|([0-9A-Fa-f:.]+)")
# RFC 7239 section 4. An element that was cut through at a comma within quotes does not match.
PAIR = r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)=([!#$%&'*+.^_`|~0-9A-Za-z-]+|\"[^\"\\]*(?:\\.[^\"\\]*)*\")"
PAIRS = re.compile(PAIR)
ELEMENT = re.compile(f"{PAIR}(?:;{PAIR})*")


def client_of(peer: Address, headers: CIMultiDictProxy[str], trusted: Proxies) -> Address:
    """The address that a request came from, by the word of those whom the operator trusts; else the peer."""
    if not trusted or not is_trusted(peer, trusted):
        return peer
    told = []
    if fields := headers.getall("X-Forwarded-For", ()):
        told.append(rightmost(from_the_right(fields), trusted))
    if fields := headers.getall("Forwarded", ()):
        told.append(rightmost(map(named_in, from_the_right(fields)), trusted))
    # A proxy that writes one of the two passes the other on as it was sent: where both are, they must agree.
    return told[0] if told and told[0] is not None and told[0] == told[-1] else peer


@lru_cache(maxsize=4096)
def is_trusted(address: Address, trusted: Proxies) -> bool:
    address = unmapped(address)
    return any(address in network for network in trusted)


def unmapped(address: Address) -> Address:
    """A socket for both families writes 192.0.2.1 as ``::ffff:192.0.2.1``."""
    return address if isinstance(address, IPv4Address) else address.ipv4_mapped or address


def rightmost(entries: Iterable[str], trusted: Proxies) -> Address | None:
    """The first from the right that is no proxy of ours, or the outermost proxy, which called for itself."""
    address = None
    for hops, entry in enumerate(entries):
        address = read(entry)
        if address is None or not is_trusted(address, trusted):
            return address
        if hops == HOPS_MAX:
            return None
    return address


def from_the_right(fields: Sequence[str]) -> Iterator[str]:
    """Lines of one name are one list, in their order: some proxies add to the last and some add another."""
    for field in reversed(fields):
        for entry in reversed(field.rsplit(",", HOPS_MAX + 1)):
            yield entry.strip(" \t")


def named_in(element: str) -> str:
    """What an element of Forwarded says that it is for, or what is no address."""
    if len(element) > ENTRY_CHARACTERS_MAX or not ELEMENT.fullmatch(element):
        return ""
    named = [value.strip('"') for name, value in PAIRS.findall(element) if name.lower() == "for"]
    return named[0] if len(named) == 1 else ""


def read(entry: str) -> Address | None:
    found = NODE.fullmatch(entry) if len(entry) <= ENTRY_CHARACTERS_MAX else None
    if found is None:
        return None
    try:
        return unmapped(address_of(found[found.lastindex or 0]))
    except ValueError:
        return None
