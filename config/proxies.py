"""Whose word is taken for where a request came from."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator

from config.lists import parse_json

Network: TypeAlias = IPv4Network | IPv6Network
LOOPBACK = ("127.0.0.0/8", "::1")
MAPPED = IPv6Network("::ffff:0:0/96")


def expand(value: object) -> object:
    if not isinstance(value, list | tuple):
        return value
    return tuple(
        network for one in value for network in map(network_of, LOOPBACK if one == "loopback" else (one,))
    )


def network_of(value: object) -> Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        network = ip_network(str(value))
    except ValueError:
        raise ValueError(f'{value!r} is no address, no network like 10.0.0.0/8, and not "loopback"') from None
    if network.prefixlen == 0:
        raise ValueError(f"{value} would let every caller choose its own address")
    if isinstance(network, IPv6Network) and network.subnet_of(MAPPED):
        raise ValueError(f"{value} is a network of IPv4 addresses: write it as one")
    return network


TrustedProxies = Annotated[tuple[Network, ...], BeforeValidator(expand), BeforeValidator(parse_json)]
