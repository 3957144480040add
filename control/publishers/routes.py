from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from control.api import wire_ids
from control.api.answers import Blob, Created, Done, Found
from control.api.fields import OrganizationId
from control.api.operation import Call, Room
from control.api.paging import Data, Limit, Offset, Page, page
from control.publishers import estimates, logos, prices, saving, store, suggest
from control.publishers.estimates import Estimate, QueryToEstimate
from control.publishers.logos import LogoUpload, LogoUploaded
from control.publishers.models import (
    Category,
    NewPublisher,
    PricingSummary,
    Publisher,
    PublisherChange,
    Suggestion,
    Suggestions,
)
from control.publishers.prices import Pricing, PricingChange
from control.publishers.saving import SlugTaken
from control.publishers.standing import OperatedPublisher, Standing
from gateway.identify import QuotaExceeded
from gateway.kit.problem import NotFound
from gateway.ledger import events

room = Room("publishers", "/organizations/{organization_id}/publishers")

Words = Annotated[str, Field(min_length=1, max_length=500)]

# Where and how the upstream is reached is between the publisher and the gateway.
PRIVATE: dict[str, Any] = {
    "api_url": None,
    "mcp_endpoint": None,
    "a2a_endpoint_url": None,
    "token_exchange_url": None,
    "api_key_header": None,
    "api_key_query_param": None,
    "upstream_headers": {},
    "database_name": None,
    "project_id": None,
    "branch_id": None,
}


@room.get(access="publishers.read", id="list_org_publishers")
async def index(
    call: Call, organization_id: OrganizationId, *, limit: Limit = 100, offset: Offset = 0
) -> Page[Publisher]:
    """List an organization's publishers, oldest first."""
    total, found = await store.page_of_organization(call.db, organization_id, limit, offset, names(call))
    return page(found, total, limit, offset)


@room.post(
    access="publishers.write",
    fails=[SlugTaken, QuotaExceeded],
    is_transaction=False,
    id="create_publisher",
)
async def create(
    call: Call, organization_id: OrganizationId, *, body: NewPublisher
) -> Created[Data[Publisher]]:
    """Publish an API.

    It can be called at `/publishers/{slug}/…` at once. Prices are decimal text in units of the accepted
    assets; a publisher without any price is free. Every URL must be reachable from the public internet.
    Secrets are encrypted and never shown again. A database that cannot be asked, or a table that is not
    there, is a warning.
    """
    publisher_id, warnings = await saving.create(call, organization_id, body)
    return Created(Data(data=await saved(call, publisher_id, warnings)))


@room.get("/{publisher_id}", access="publishers.read", fails=[NotFound], id="get_org_publisher")
async def show(call: Call, organization_id: OrganizationId, publisher_id: UUID) -> Data[Publisher]:
    """Show a publisher to its organization."""
    if await store.look(call.db, organization_id, publisher_id) is None:
        raise NotFound(f"no publisher {publisher_id}")
    return Data(data=await store.get(call.db, publisher_id, names(call)))


@room.put(
    "/{publisher_id}",
    access="publishers.write",
    fails=[NotFound],
    is_transaction=False,
    id="update_publisher",
)
async def update(
    call: Call, organization_id: OrganizationId, publisher_id: UUID, *, body: PublisherChange
) -> Data[Publisher]:
    """Change a publisher.

    What is not sent, or is null, stays as it is, each secret by itself included; empty text, an empty list or
    an empty object takes a value away. Prices apply to every accepted asset; an added asset starts with those
    of the first.
    """
    warnings = await saving.change(call, organization_id, publisher_id, body)
    return Data(data=await saved(call, publisher_id, warnings))


async def saved(call: Call, publisher_id: UUID, warnings: Sequence[str]) -> Publisher:
    publisher = await store.get(call.db, publisher_id, names(call))
    return publisher.model_copy(update={"warnings": list(warnings) or None})


@room.delete("/{publisher_id}", access="publishers.write", fails=[NotFound], id="delete_publisher")
async def delete(call: Call, organization_id: OrganizationId, publisher_id: UUID) -> Done:
    """Delete a publisher. Calls are refused from now on, its slug is free, and what it earned stays."""
    if not await store.delete(call.db, organization_id, publisher_id):
        raise NotFound(f"no publisher {publisher_id}")
    await events.emit(call.db, organization_id, "publisher.deleted", {"publisher_id": str(publisher_id)})
    return Done()


@room.put(
    "/{publisher_id}/pricing",
    access="publishers.write",
    fails=[NotFound],
    is_transaction=False,
    id="update_publisher_pricing",
)
async def update_pricing(
    call: Call, organization_id: OrganizationId, publisher_id: UUID, *, body: PricingChange
) -> Data[Pricing]:
    """Change a publisher's prices in one of its assets.

    What is not sent, or is null, stays as it is; empty text takes a price away.
    """
    return Data(data=await saving.reprice(call, organization_id, publisher_id, body))


@room.get(at="/publishers", access=None, id="list_store_publishers")
async def browse(
    call: Call,
    *,
    is_verified: bool | None = None,
    category: Category | None = None,
    search: Annotated[Words | None, Field(description="Part of a name or a slug.")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Page[Publisher]:
    """Browse the store: every active publisher with its prices, verified ones first.

    How a publisher's upstream is reached is not shown.
    """
    filters = [is_verified, category, search]
    total, found = await store.page_of_store(call.db, filters, limit, offset, names(call))
    return page([public(one) for one in found], total, limit, offset)


@room.get(at="/publishers/suggest", access=None, id="suggest_publishers")
async def suggest_publishers(
    call: Call,
    *,
    query: Annotated[Words, Field(description="A task in words, like `scrape a website`.")],
    type: Annotated[
        Literal["publisher", "agent", "both"], Field(description="Agents are not sold yet.")
    ] = "both",
    limit: Annotated[int, Field(ge=1, le=20, description="How many to return.")] = 5,
) -> Data[Suggestions]:
    """Find publishers that fit a task.

    The score counts which of the task's words a publisher uses of itself, and where.
    """
    words = suggest.stems(query)[: suggest.WORDS_MAX]
    rows = await store.candidates(call.db, words) if words and type != "agent" else []
    fits = [(fit, row) for row in rows if (fit := suggest.fit(words, row))]
    fits.sort(key=lambda one: (-one[0].score, one[1]["slug"]))
    found = [
        Suggestion(
            slug=row["slug"],
            name=row["name"],
            description=row["description"],
            capabilities=row["capabilities"] or [],
            match_reason=fit.reason,
            score=fit.score,
            pricing=summary(row),
        )
        for fit, row in fits[:limit]
    ]
    return Data(data=Suggestions(publishers=found, agents=[]))


@room.post("/{publisher_id}/logo", access="publishers.write", fails=[NotFound], id="upload_publisher_logo")
async def upload_logo(
    call: Call, organization_id: OrganizationId, publisher_id: UUID, *, body: LogoUpload
) -> Data[LogoUploaded]:
    """Upload a publisher's logo, in place of the one it had."""
    content = logos.content_of(body)
    slug = await store.slug_of(call.db, organization_id, publisher_id)
    url = f"{call.ports.origin}/publishers/{slug}/logo"
    if not await store.put_logo(call.db, organization_id, publisher_id, body.content_type, content, url):
        raise NotFound(f"no publisher {publisher_id}")
    return Data(data=LogoUploaded(message="The logo is uploaded.", logo_url=url))


@room.get(at="/publishers/{slug}/logo", access=None, fails=[NotFound], id="get_store_publisher_logo")
async def show_logo(call: Call, slug: str) -> Blob | Found:
    """Show a publisher's logo, by the publisher's slug or id.

    One that was uploaded is the answer itself; one that is elsewhere is where the answer leads.
    """
    row = await store.logo(call.db, slug, wire_ids.read("", slug))
    if row is None:
        raise NotFound(f"no publisher {slug}")
    own = f"/publishers/{row['slug']}/logo"
    if row["content"] is not None and (row["logo_url"] or own).endswith(own):
        return Blob(row["content"], row["content_type"], logos.HEADERS)
    if row["logo_url"] is None or row["logo_url"].endswith(own):
        raise NotFound(f"{slug} has no logo")
    return Found(row["logo_url"])


@room.post(
    at="/publishers/{slug}/estimate",
    access=None,
    fails=[*estimates.FAILURES, NotFound],
    id="estimate_query",
    is_transaction=False,
)
async def estimate_query(call: Call, slug: str, *, body: QueryToEstimate) -> Estimate:
    """Estimate what a query of a publisher's database would return and cost, without running or paying it.

    The rows are the database's own guess. What is charged is what is returned.
    """
    return await estimates.estimate(call, slug, body)


@room.patch(at="/platform/publishers/{publisher_id}", access="platform.operate", fails=[NotFound])
async def operate(call: Call, publisher_id: UUID, *, body: Standing) -> Data[OperatedPublisher]:
    """Verify a publisher, let it charge wallets, or suspend it: paid calls to it are 404 within a second."""
    changed = await store.set_standing(call.db, publisher_id, body)
    if changed is None:
        raise NotFound(f"no publisher {publisher_id}")
    return Data(data=changed)


@room.get(at="/publishers/{slug}", access=None, fails=[NotFound], id="get_store_publisher")
async def show_in_store(call: Call, slug: str) -> Data[Publisher]:
    """Show a publisher, its endpoints and its prices.

    How its upstream is reached is not shown.
    """
    found = await store.by_slug(call.db, slug, names(call))
    if found is None:
        raise NotFound(f"no publisher {slug}")
    return Data(data=public(found))


def public(publisher: Publisher) -> Publisher:
    return publisher.model_copy(update=PRIVATE)


def names(call: Call) -> Mapping[str, str]:
    return {network.id: network.name or network.id for network in call.ports.settings.networks}


def summary(row: Mapping[str, Any]) -> PricingSummary | None:
    if row["symbol"] is None:
        return None
    return PricingSummary(asset_symbol=row["symbol"], **prices.as_text(row["prices"], row["decimals"]))
