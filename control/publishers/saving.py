"""Carry a plan out: check it whole, then write it in one transaction."""

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

from control.api.operation import Call
from control.api.ports import Ports
from control.publishers import dust, prices, rules, store
from control.publishers.models import NewPublisher, PublisherChange
from control.publishers.plan import Body, Plan, Subject, asset_ids_in, blank, plan
from control.publishers.prices import Pricing, PricingChange
from control.publishers.store import Columns, Listed
from control.quotas import headroom
from control.selling import tables
from control.selling.tables import Look
from gateway.kit import ids
from gateway.kit.problem import FieldProblem, Invalid, NotFound, Refusal
from gateway.kit.sql import Db
from gateway.kit.ssrf import Blocked, Guard
from gateway.ledger import accounts, events
from gateway.upstreams.branches import Branch


class SlugTaken(Refusal):
    status, slug, title = 409, "publisher-slug-taken", "Publisher slug already exists"


async def create(call: Call, organization_id: UUID, body: NewPublisher) -> tuple[UUID, tuple[str, ...]]:
    """Its id, and what to warn of."""
    subject = Subject(organization_id, ids.new(), blank(body))
    made = await planned(call, call.db, subject, body)
    await refuse_problems(call.ports.guard, made)
    warnings = await look_in(call.ports, subject.publisher_id, made)
    async with call.transaction() as db:
        await headroom.require(db, call.ports.settings.plans, organization_id, "publishers")
        is_free = body.slug not in rules.RESERVED_SLUGS
        if not is_free or not await store.insert(
            db, subject.publisher_id, organization_id, body.slug, made.columns
        ):
            raise SlugTaken(f"the slug {body.slug} is taken")
        await write_prices(db, organization_id, subject.publisher_id, made.listed)
        call.about(subject.publisher_id)
        told = {"publisher_id": str(subject.publisher_id), "slug": body.slug, "name": body.name}
        await events.emit(db, organization_id, "publisher.created", told)
    return subject.publisher_id, warnings


async def change(
    call: Call, organization_id: UUID, publisher_id: UUID, body: PublisherChange
) -> tuple[str, ...]:
    """What to warn of."""
    columns = await store.look(call.db, organization_id, publisher_id)
    subject = await standing(call.db, organization_id, publisher_id, columns)
    first = await planned(call, call.db, subject, body)
    await refuse_problems(call.ports.guard, first)
    warnings = await look_in(call.ports, publisher_id, first)
    async with call.transaction() as db:
        columns = await store.lock(db, organization_id, publisher_id)
        subject = await standing(db, organization_id, publisher_id, columns)
        # Somebody may have saved meanwhile. Its URLs need no second look: each passed the guard when it was
        # sent.
        made = await planned(call, db, subject, body)
        if made.problems:
            raise Invalid(made.problems)
        if made.database is not None:
            made.columns.details["database_config"] = first.columns.details.get("database_config")
        await store.update(db, publisher_id, made.columns)
        kept = {one.asset_id for one in made.listed}
        await store.drop_pricing(
            db, publisher_id, [one.asset_id for one in subject.listed if one.asset_id not in kept]
        )
        await write_prices(db, organization_id, publisher_id, made.listed)
        await updated(db, organization_id, publisher_id)
    return warnings


async def reprice(call: Call, organization_id: UUID, publisher_id: UUID, body: PricingChange) -> Pricing:
    if body.token_exchange_url:
        await refuse_blocked(call.ports.guard, {"token_exchange_url": body.token_exchange_url}, [])
    async with call.transaction() as db:
        columns = await store.lock(db, organization_id, publisher_id)
        subject = await standing(db, organization_id, publisher_id, columns)
        position = next((at for at, one in enumerate(subject.listed) if one.asset_id == body.asset_id), None)
        if position is None:
            detail = "is not an asset that the publisher accepts"
            raise Invalid([FieldProblem(pointer="body/asset_id", detail=detail)])
        before = subject.listed[position]
        after = repriced(before, body, subject.columns.details.get("billing_model"))
        if dusty := dust.problems(call.ports.settings.networks, [after], body, ()):
            raise Invalid(dusty)
        await store.set_pricing(db, publisher_id, position, after)
        said = {name: value for name, value in rules.details(body).items() if name.startswith("token_")}
        details = rules.overlaid(subject.columns.details, said)
        await store.update(db, publisher_id, replace(subject.columns, details=details))
        await updated(db, organization_id, publisher_id)
        switches = {"prepaid_enabled": after.is_prepaid_enabled, "onchain_enabled": after.is_onchain_enabled}
        return store.priced(body.asset_id, before.symbol, before.decimals, after.prices, switches)


async def updated(db: Db, organization_id: UUID, publisher_id: UUID) -> None:
    await events.emit(db, organization_id, "publisher.updated", {"publisher_id": str(publisher_id)})


def repriced(before: Listed, body: PricingChange, billing: str | None) -> Listed:
    problems: list[FieldProblem] = []
    after = prices.merged(before.prices, prices.sent(body), before.decimals, problems)
    least, most = after.get("min_charge", 0), after.get("max_charge")
    if not problems and most is not None and most < least:
        problems.append(FieldProblem(pointer="body/max_charge", detail="is less than min_charge"))
    problems += prices.tier_problems(after)
    if body.hourly_rate:
        problems += prices.rate_problems(billing, [after], "body/hourly_rate")
    if problems:
        raise Invalid(problems)
    is_prepaid = before.is_prepaid_enabled if body.prepaid_enabled is None else body.prepaid_enabled
    is_onchain = before.is_onchain_enabled if body.onchain_enabled is None else body.onchain_enabled
    return replace(before, prices=after, is_prepaid_enabled=is_prepaid, is_onchain_enabled=is_onchain)


async def standing(db: Db, organization_id: UUID, publisher_id: UUID, columns: Columns | None) -> Subject:
    if columns is None:
        raise NotFound(f"no publisher {publisher_id}")
    return Subject(organization_id, publisher_id, columns, await store.pricing(db, publisher_id))


async def planned(call: Call, db: Db, subject: Subject, body: Body) -> Plan:
    network = body.wallet_network_id or subject.columns.wallet_network_id
    assets = await store.assets(db, network, asset_ids_in(subject, body))
    made = plan(call.ports, subject, assets, body)
    await name_provider(db, subject, body, made)
    if isinstance(made.database, Branch):
        project_id, branch_id = made.columns.details.get("project_id"), made.database.id
        if not await store.has_branch(db, subject.organization_id, branch_id, project_id):
            detail = "is not a branch of this organization's projects, or not of project_id"
            made.problems.append(FieldProblem(pointer="body/branch_id", detail=detail))
    return made


async def name_provider(db: Db, subject: Subject, body: Body, made: Plan) -> None:
    """Refused rather than stored: what counts on its callers' own accounts must not run without them."""
    said = body.oauth_provider_slug if isinstance(body, NewPublisher) else body.oauth_provider_id
    pointer = f"body/oauth_provider_{'slug' if isinstance(body, NewPublisher) else 'id'}"
    details = made.columns.details
    if said:
        found = await store.find_provider(db, subject.organization_id, str(said))
        if found is None:
            detail = "is not an OAuth provider of this organization, or of the platform"
            made.problems.append(FieldProblem(pointer=pointer, detail=detail))
            return
        details["oauth_provider_id"] = str(found)
    if details.get("requires_user_oauth") and not details.get("oauth_provider_id"):
        detail = "is required when requires_user_oauth is true"
        made.problems.append(FieldProblem(pointer=pointer, detail=detail))


async def look_in(ports: Ports, publisher_id: UUID, made: Plan) -> tuple[str, ...]:
    """The database is asked only where it is said anew, and before there is a transaction."""
    if made.database is None:
        return ()
    look = Look() if ports.queries is None else await tables.look(ports.queries, publisher_id, made.database)
    made.columns.details["database_config"] = look.found
    return look.warnings


async def refuse_problems(guard: Guard, made: Plan) -> None:
    await refuse_blocked(guard, made.urls, made.problems)


async def refuse_blocked(guard: Guard, urls: Mapping[str, str], problems: list[FieldProblem]) -> None:
    found = list(problems)
    for name, url in urls.items():
        try:
            await guard.check(url)
        except Blocked as error:
            found.append(FieldProblem(pointer=f"body/{name}", detail=str(error)))
    if found:
        raise Invalid(found)


async def write_prices(db: Db, organization_id: UUID, publisher_id: UUID, listed: list[Listed]) -> None:
    for position, one in enumerate(listed):
        # Before it is published: a call must find an account to credit.
        await accounts.ensure(db, organization_id, one.asset_id, "earnings")
        await store.set_pricing(db, publisher_id, position, one)
