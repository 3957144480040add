"""What a request makes of a publisher: its row, its price lists, and everything that is wrong with it.

A new publisher is a change to an empty one. The plan is made twice: before anything is locked, so that every
problem is named at once and URLs are resolved outside the transaction, and again on the locked rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from asyncpg import Record

from control.api.ports import Ports
from control.publishers import credentials, dust, prices, rules, sources
from control.publishers.models import NewPublisher, PublisherChange
from control.publishers.store import Columns, Listed
from gateway.kit import crypto, dsn
from gateway.kit.problem import FieldProblem, Invalid
from gateway.upstreams import branches
from gateway.upstreams.postgres_places import Database

Body = NewPublisher | PublisherChange


@dataclass(frozen=True, slots=True)
class Subject:
    """The publisher as it stands."""

    organization_id: UUID
    publisher_id: UUID
    columns: Columns
    listed: Sequence[Listed] = ()


@dataclass(slots=True)
class Plan:
    columns: Columns
    listed: list[Listed] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)
    """What the guard must pass, by the field that said it."""
    problems: list[FieldProblem] = field(default_factory=list)
    database: Database | None = None
    """One that is said anew."""


def blank(body: NewPublisher) -> Columns:
    """A new publisher before anything that is checked is said of it."""
    return Columns(
        name=body.name,
        category=body.publisher_category,
        wallet_address="",
        wallet_network_id=body.wallet_network_id,
        api_url=None,
        auth_type="static",
        auth_sealed=None,
        details={},
    )


def plan(ports: Ports, subject: Subject, assets: Sequence[Record], body: Body) -> Plan:
    before = subject.columns
    out = Plan(before, problems=rules.problems(body))
    out.urls = {name: url for name in rules.GUARDED if (url := getattr(body, name))}
    category = body.publisher_category or before.category
    api_url = before.api_url if body.api_url is None else body.api_url or None
    details = rules.overlaid(before.details, rules.details(body))
    database_sealed = connect(ports, subject, body, details, out)
    # One that is told wrongly is a database too: what is wrong with it is said, and not that there is none.
    is_database = database_sealed is not None or bool(body.database_config)
    out.problems += rules.serving_problems(category, api_url, is_database=is_database)
    if not is_database:
        details.pop("database_config", None)
    out.problems += rules.billing_problems(details, is_database=is_database)
    auth_type, sealed = authorize(ports, subject, body, details, out)
    out.listed = price_lists(subject, assets, body, details.get("endpoints") or [], out.problems)
    if body.hourly_rate or body.billing_model:
        # What was saved before there was this rule does not keep anybody from changing something else.
        pointer = f"body/{'hourly_rate' if body.hourly_rate else 'billing_model'}"
        lists = [one.prices for one in out.listed]
        out.problems += prices.rate_problems(details.get("billing_model"), lists, pointer)
    said = details.get("endpoints") or []
    out.problems += dust.problems(ports.settings.networks, out.listed, body, said)
    out.columns = Columns(
        name=body.name or before.name,
        category=category,
        wallet_address=(body.wallet_address or before.wallet_address).lower(),
        wallet_network_id=body.wallet_network_id or before.wallet_network_id,
        api_url=api_url,
        auth_type=auth_type,
        auth_sealed=sealed,
        details=details,
        database_sealed=database_sealed,
        is_active=before.is_active if not_said(body, "is_active") else bool(getattr(body, "is_active", True)),
    )
    return out


def connect(ports: Ports, subject: Subject, body: Body, details: dict[str, Any], out: Plan) -> bytes | None:
    """Where the publisher's database is, sealed. An empty object takes it away."""
    sealed, config = subject.columns.database_sealed, body.database_config
    if config is None:
        if sealed is not None and (body.branch_id or body.database_name or body.project_id):
            detail = "is said again with the branch_id or the database_name that it is of"
            out.problems.append(FieldProblem(pointer=sources.CONFIG, detail=detail))
        return sealed
    if config == {}:
        return None
    context = crypto.context(subject.organization_id, subject.publisher_id)
    try:
        if isinstance(config, dict) and "tables" in config:
            before = None if sealed is None else ports.keyring.open(sealed, context).decode()
            branch = sources.of_branch(body, details, subject.organization_id, subject.publisher_id, before)
            out.database, found = branch, branches.sealed_text(branch)
        else:
            found = sources.connection(config)
            out.database = place = dsn.read(found)
            out.urls["database_config"] = place.guarded_url
    except Invalid as refusal:
        out.problems += refusal.fields
        return sealed
    return ports.keyring.seal(found.encode(), context)


def not_said(body: Body, name: str) -> bool:
    return getattr(body, name, None) is None


def authorize(
    ports: Ports, subject: Subject, body: Body, details: dict[str, Any], out: Plan
) -> tuple[str, bytes | None]:
    """The auth mode and its sealed settings; not even opened when the request says nothing of them."""
    before, auth_type = subject.columns, body.auth_type or subject.columns.auth_type
    given = credentials.sent(body)
    if not given and not body.auth_settings and auth_type == before.auth_type:
        # Only a mode that needs no settings may be left without any.
        if before.auth_sealed is None:
            settle(ports, auth_type, {}, body, out)
        return auth_type, before.auth_sealed
    where = subject.organization_id, subject.publisher_id
    stored = credentials.unseal(ports.keyring, *where, before.auth_sealed)
    settings = settle(ports, auth_type, stored, body, out)
    if settings is None:
        return auth_type, None
    said = {*given, *(body.auth_settings or {})}
    out.urls |= {name: url for name, url in credentials.urls(settings).items() if name in said}
    for name in credentials.SHOWN - credentials.OF_EVERY_MODE - set(type(settings).model_fields):
        details.pop(name, None)
    return auth_type, credentials.seal(ports.keyring, *where, settings)


def settle(ports: Ports, auth_type: str, stored: dict[str, Any], body: Body, out: Plan) -> Any:
    try:
        return credentials.settle(ports.modes, auth_type, stored, body)
    except Invalid as refusal:
        out.problems += refusal.fields
        return None


def price_lists(
    subject: Subject,
    assets: Sequence[Record],
    body: Body,
    endpoints: Sequence[dict[str, Any]],
    problems: list[FieldProblem],
) -> list[Listed]:
    said, before = prices.sent(body), {one.asset_id: one for one in subject.listed}
    place = "body/endpoints/{}/price" if body.endpoints is not None else "body/add_asset_ids"
    out = []
    for asset in accepted(subject, assets, body, problems):
        known = before.get(asset["id"])
        stored = known.prices if known else first_prices(subject, asset, problems)
        after = prices.merged(stored, said, asset["decimals"], problems)
        prices.check_endpoints(endpoints, asset["decimals"], place, problems)
        switches = (known.is_prepaid_enabled, known.is_onchain_enabled) if known else (True, True)
        out.append(Listed(asset["id"], asset["decimals"], after, *switches, symbol=asset["symbol"]))
    return out


def first_prices(subject: Subject, asset: Record, problems: list[FieldProblem]) -> dict[str, Any]:
    if not subject.listed:
        return {}
    primary = subject.listed[0]
    return prices.re_expressed(primary.prices, primary.decimals, asset["decimals"], problems)


def accepted(
    subject: Subject, assets: Sequence[Record], body: Body, problems: list[FieldProblem]
) -> list[Record]:
    """The assets that the publisher takes from now on, its primary one first."""
    network = body.wallet_network_id or subject.columns.wallet_network_id
    of_network = [asset for asset in assets if asset["network"] == network]
    if not of_network:
        detail = f"{network} is not a network of this installation"
        problems.append(FieldProblem(pointer="body/wallet_network_id", detail=detail))
        return []
    by_id = {asset["id"]: asset for asset in assets}
    out = {}
    for asset_id, pointer in wanted(subject, body, [asset["id"] for asset in of_network], problems).items():
        asset = by_id.get(asset_id)
        if asset is None:
            problems.append(FieldProblem(pointer=pointer, detail=f"there is no asset {asset_id}"))
        elif asset["mode"] != of_network[0]["mode"]:
            detail = f"is {asset['mode']} money, and {network} is a {of_network[0]['mode']} network"
            problems.append(FieldProblem(pointer=pointer, detail=detail))
        else:
            out[asset_id] = asset
    return list(out.values())


def wanted(
    subject: Subject, body: Body, of_network: Sequence[UUID], problems: list[FieldProblem]
) -> dict[UUID, str]:
    """The ids of those assets, each with the field to blame for it."""
    if isinstance(body, NewPublisher):
        if body.accepted_asset_ids is None:
            return dict.fromkeys(of_network, "body/wallet_network_id")
        return pointed(body.accepted_asset_ids, "body/accepted_asset_ids")
    out = dict.fromkeys((one.asset_id for one in subject.listed), "body/wallet_network_id")
    for position, asset_id in enumerate(body.remove_asset_ids or []):
        if out.pop(asset_id, None) is None:
            detail = "is not an asset that the publisher accepts"
            problems.append(FieldProblem(pointer=f"body/remove_asset_ids/{position}", detail=detail))
    out |= {
        one: at
        for one, at in pointed(body.add_asset_ids or [], "body/add_asset_ids").items()
        if one not in out
    }
    if not out:
        problems.append(FieldProblem(pointer="body/remove_asset_ids", detail="leaves nothing to be paid in"))
    return out


def pointed(asset_ids: Sequence[UUID], place: str) -> dict[UUID, str]:
    return {asset_id: f"{place}/{position}" for position, asset_id in enumerate(asset_ids)}


def asset_ids_in(subject: Subject, body: Body) -> list[UUID]:
    """Every asset that a plan may have to know, besides those of the wallet's network."""
    said = body.accepted_asset_ids if isinstance(body, NewPublisher) else body.add_asset_ids
    return [*(one.asset_id for one in subject.listed), *(said or [])]
