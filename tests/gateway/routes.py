"""Values for tests of single stages, with only what a test cares about spelled out."""

from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from multidict import CIMultiDict, CIMultiDictProxy

from gateway import published
from gateway.kit import ids
from gateway.kit.body import RequestBody
from gateway.snapshot import Snapshot
from gateway.types import Credentials, Endpoint, Inbound, Pricing, Route
from tests.gateway.conftest import USDC

PUBLISHER = UUID(int=7)


def endpoint(method: str, path: str, **more: Any) -> Endpoint:
    return published.endpoint({"method": method, "path": path, **more})


def pricing(prices: dict[str, int], endpoint_prices: dict[int, int] | None = None) -> Pricing:
    return Pricing(
        USDC, UUID(int=1), prices, endpoint_prices or {}, is_prepaid_enabled=True, is_onchain_enabled=True
    )


def route(*endpoints: Endpoint, prices: dict[str, int] | None = None, **more: Any) -> Route:
    values: dict[str, Any] = {
        "publisher_id": PUBLISHER,
        "organization_id": UUID(int=8),
        "slug": "weather",
        "name": "Weather",
        "description": None,
        "api_url": "https://api.example/v1",
        "wallet_address": "0x" + "c" * 40,
        "wallet_network": "eip155:84532",
        "endpoints": endpoints,
        "undocumented": "default_allow",
        "pricing": (pricing(prices or {}),),
        "upstream_headers": {},
        "auth": None,
    }
    return Route(**{**values, **more})


def snapshot(one: Route) -> Snapshot:
    return cast(Snapshot, SimpleNamespace(route=lambda slug: one if slug == one.slug else None))


def inbound(path: str = "/now", method: str = "GET", query: str = "", slug: str = "weather") -> Inbound:
    return Inbound(
        call_id=ids.new(),
        method=method,
        slug=slug,
        path=path,
        query=query,
        headers=CIMultiDictProxy(CIMultiDict()),
        credentials=Credentials(None, None, None),
        client_address=ip_address("192.0.2.1"),
        url=f"http://gateway.example/publishers/{slug}{path}",
        body=cast(RequestBody, None),
    )
