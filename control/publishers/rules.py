"""What makes a publisher whole, decided without a database."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from eth_utils.address import is_checksum_address
from pydantic import BaseModel

from control.publishers import credentials, prices
from control.publishers.endpoints import repeated
from control.publishers.models import NewPublisher, PublisherChange
from gateway.kit.problem import FieldProblem

# The gateway's own paths below /publishers/.
RESERVED_SLUGS: Final = frozenset({"suggest"})

# Fields with a column, or with an effect instead of a value.
ELSEWHERE: Final = frozenset(
    {
        "name",
        "slug",
        "publisher_category",
        "wallet_network_id",
        "api_url",
        "auth_type",
        "auth_settings",
        "is_active",
        "accepted_asset_ids",
        "add_asset_ids",
        "remove_asset_ids",
        "oauth_provider_slug",
        "oauth_provider_id",
        "database_config",
    }
)
GUARDED: Final = ("api_url", "mcp_endpoint", "a2a_endpoint_url", "token_exchange_url")
EVM = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
SOLANA = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,44}", re.ASCII)
# Headers that frame the message, or that carry somebody's credentials.
NOT_UPSTREAM: Final = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def problems(body: NewPublisher | PublisherChange) -> list[FieldProblem]:
    """What is wrong with a request by itself, all at once."""
    return [
        *wallet_problems(body.wallet_address),
        *header_problems(body.upstream_headers or {}),
        *logo_problems(body.logo_url),
        *repeated(body.endpoints or []),
        *database_problems(body),
    ]


def wallet_problems(address: str | None) -> Iterator[FieldProblem]:
    if address is None:
        return
    if EVM.fullmatch(address):
        digits = address[2:]
        is_mixed = digits != digits.lower() and digits != digits.upper()
        if is_mixed and not is_checksum_address(address):
            yield wallet_problem("has a wrong EIP-55 checksum: is there a typing mistake?")
        elif int(digits, 16) == 0:
            yield wallet_problem("is the zero address: money sent there is gone")
    elif SOLANA.fullmatch(address):
        yield wallet_problem("is a Solana address, and no Solana network is configured here")
    else:
        yield wallet_problem("is not an EVM address: 0x and 40 hexadecimal digits")


def wallet_problem(detail: str) -> FieldProblem:
    return FieldProblem(pointer="body/wallet_address", detail=detail)


def header_problems(headers: Mapping[str, str]) -> Iterator[FieldProblem]:
    for name in headers:
        if name.lower() in NOT_UPSTREAM:
            detail = "belongs to the gateway; credentials go into the auth fields"
            yield FieldProblem(pointer=f"body/upstream_headers/{name}", detail=detail)


def logo_problems(url: str | None) -> Iterator[FieldProblem]:
    if not url:
        return
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_web = False
    if not is_web or re.search(r"[\x00-\x20\x7f]", url):
        yield FieldProblem(pointer="body/logo_url", detail="is not an http or https URL")


def database_problems(body: NewPublisher | PublisherChange) -> Iterator[FieldProblem]:
    config = body.database_config
    is_elsewhere = isinstance(config, dict) and "tables" not in config
    if config and (body.database_type == "mongodb" or (body.database_type == "serendb" and is_elsewhere)):
        detail = f"{body.database_type} is not served: a connection_string is of a PostgreSQL"
        yield FieldProblem(pointer="body/database_type", detail=detail)


def serving_problems(category: str, api_url: str | None, *, is_database: bool) -> Iterator[FieldProblem]:
    """Whether calls to the publisher would reach anything, and one thing only."""
    if is_database:
        if category != "database":
            detail = f"{category} publishers have no database: queries are sold by the category database"
            yield FieldProblem(pointer="body/database_config", detail=detail)
        if api_url:
            detail = "is asked over HTTP, and a connection_string with queries: a publisher has one of them"
            yield FieldProblem(pointer="body/api_url", detail=detail)
    elif not api_url:
        yield unserved(category)


def unserved(category: str) -> FieldProblem:
    if category == "integration":
        detail = "is required: this installation serves REST APIs, and no MCP servers by themselves yet"
        return FieldProblem(pointer="body/api_url", detail=detail)
    more = " or a connection_string in database_config" if category == "database" else ""
    detail = f"{category} publishers need an api_url{more}: nothing else is served yet"
    return FieldProblem(pointer="body/publisher_category", detail=detail)


def billing_problems(details: Mapping[str, Any], *, is_database: bool) -> Iterator[FieldProblem]:
    """What has no meaning for a query must not be a way to sell it for nothing."""
    if not is_database:
        return
    if details.get("billing_model") in ("pay_per_use", "x402_passthrough"):
        detail = "is for APIs: a query costs what the price list says of calls and rows"
        yield FieldProblem(pointer="body/billing_model", detail=detail)
    for name in ("token_exchange_url", "ownership_tracking_enabled", "requires_user_oauth"):
        if details.get(name):
            yield FieldProblem(pointer=f"body/{name}", detail="is for APIs, and not for a database")


def details(body: BaseModel) -> dict[str, Any]:
    """The fields without a column, as they are stored. A value of None is to be taken away."""
    given = body.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    hidden = credentials.FIELDS - credentials.SHOWN
    return {
        name: value if credentials.is_something(value) else None
        for name, value in given.items()
        if name not in ELSEWHERE | hidden | prices.AMOUNTS | prices.AS_GIVEN | {"tiers"}
    }


def overlaid(stored: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**stored, **change}.items() if value is not None}
