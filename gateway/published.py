"""From the rows that the management API published to the values that a call works with."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import msgspec

from gateway import cost
from gateway.auth_mode import AuthMode, is_dropped
from gateway.exchange import exchange_of
from gateway.kit import dsn
from gateway.kit.crypto import Keyring, context
from gateway.kit.dsn import Dsn
from gateway.kit.money import to_atomic
from gateway.options import Policy
from gateway.ownership import ownership_of
from gateway.passthrough import passthrough_of
from gateway.types import Asset, Authorizer, Endpoint, Pricing, Route
from gateway.upstreams import branches
from gateway.upstreams.branches import Branch

# All that is sold of a database.
QUERY = (
    Endpoint("POST", (), is_for_anyone=None, is_protected=False, protection_reason=None, description=None),
)


def route(
    row: Mapping[str, Any], assets: Mapping[UUID, Asset], modes: Mapping[str, AuthMode[Any]], keyring: Keyring
) -> Route:
    details = row["details"]
    asked = database(row, keyring)
    documented = details.get("endpoints") or [] if asked is None else []
    pricing = [pricing_of(one, row, assets, documented) for one in row["pricing"]]
    offered = tuple(one for one in pricing if one is not None)
    # Set beside the prices in each asset; one publisher has one limit, the strictest.
    paces = [one["prices"].get("max_queries_per_minute") for one in row["pricing"]]
    passthrough = passthrough_of(details)
    policy: Policy = (
        "default_deny" if details.get("undocumented_endpoint_policy") == "default_deny" else "default_allow"
    )
    return Route(
        publisher_id=row["id"],
        organization_id=row["organization_id"],
        slug=row["slug"],
        name=row["name"],
        description=details.get("description"),
        api_url=row["api_url"] or "",
        wallet_address=row["wallet_address"].lower(),
        wallet_network=row["wallet_network_id"],
        endpoints=tuple(map(endpoint, documented)) if asked is None else QUERY,
        undocumented=policy if asked is None else "default_deny",
        pricing=offered,
        upstream_headers=upstream_headers(details),
        auth=authorizer(row, modes, keyring),
        is_upfront=details.get("payment_flow") == "upfront",
        requires_payment_identifier=bool(details.get("requires_payment_identifier")),
        exchange=exchange_of(details),
        ownership=ownership_of(details),
        oauth_provider_id=UUID(details["oauth_provider_id"]) if details.get("requires_user_oauth") else None,
        passthrough=passthrough,
        is_answer_read=passthrough is not None
        or bool(details.get("ownership_tracking_enabled"))
        or any(one.tariff is not None and one.tariff.is_reported for one in offered),
        calls_per_minute_max=min(filter(None, paces), default=None),
        database=asked,
    )


def database(row: Mapping[str, Any], keyring: Keyring) -> Dsn | Branch | None:
    if row["database_sealed"] is None:
        return None
    text = keyring.open(row["database_sealed"], context(row["organization_id"], row["id"])).decode()
    return branches.read(text, row["organization_id"]) if branches.is_branch(text) else dsn.read(text)


def endpoint(documented: Mapping[str, Any]) -> Endpoint:
    access, flow = documented.get("access"), documented.get("payment_flow")
    return Endpoint(
        method=documented["method"],
        segments=segments(documented["path"]),
        is_for_anyone=None if access is None else access == "public_anonymous",
        is_protected=bool(documented.get("is_protected")),
        protection_reason=documented.get("protection_reason"),
        description=documented.get("description"),
        is_upfront=None if flow is None else flow == "upfront",
    )


def segments(path: str) -> tuple[str, ...]:
    """``/items/{id}`` as the decoded segments that ``match`` compares."""
    inner = path.strip("/")
    return tuple(unquote(part) for part in inner.split("/")) if inner else ()


def pricing_of(
    listed: Mapping[str, Any],
    row: Mapping[str, Any],
    assets: Mapping[UUID, Asset],
    documented: list[Mapping[str, Any]],
) -> Pricing | None:
    """None for an asset whose network is configured no more: nothing can be paid in it."""
    asset = assets.get(UUID(listed["asset_id"]))
    if asset is None:
        return None
    stored = listed["prices"]
    markup = cost.markup(stored)
    own = {
        position: cost.raised(to_atomic(one["price"], asset.decimals), markup)
        for position, one in enumerate(documented)
        if one.get("price") is not None
    }
    prices = {
        name: cost.raised(value, markup) if name.startswith("price_per_") else value
        for name, value in stored.items()
        if isinstance(value, int)
    }
    return Pricing(
        asset, UUID(listed["earnings_id"]), prices, own,
        listed["is_prepaid_enabled"], listed["is_onchain_enabled"],
        cost.row_tariff(stored)
        if row["database_sealed"] is not None
        else cost.tariff(row["details"], row["category"], stored, asset.decimals),
        cost.connection_tariff(stored),
    )  # fmt: skip


def upstream_headers(details: Mapping[str, Any]) -> Mapping[str, str]:
    given: Mapping[str, str] = details.get("upstream_headers") or {}
    headers = {name: value for name, value in given.items() if not is_dropped(name)}
    if content_type := details.get("request_content_type"):
        headers.setdefault("Content-Type", content_type)
    return headers


def authorizer(
    row: Mapping[str, Any], modes: Mapping[str, AuthMode[Any]], keyring: Keyring
) -> Authorizer | None:
    if row["auth_sealed"] is None:
        return None
    mode = modes[row["auth_type"]]
    opened = keyring.open(row["auth_sealed"], context(row["organization_id"], row["id"]))
    settings = mode.settings.model_validate(msgspec.json.decode(opened))
    return Authorizer(row["auth_type"], settings, mode.authorize)
