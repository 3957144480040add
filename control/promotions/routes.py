from datetime import UTC, datetime, timedelta
from uuid import UUID

from control.api.answers import Created
from control.api.operation import Call, Room
from control.api.paging import Data, Limit, Offset, Page, page
from control.giving.claims import BudgetEmpty
from control.promotions import store
from control.promotions.models import Budget, FillRequest, Grant, GrantRequest
from gateway.kit import ids
from gateway.kit.money import to_atomic
from gateway.kit.problem import NotFound, Refusal, invalid
from gateway.ledger import accounts, grants
from gateway.ledger.grants import NewGrant
from gateway.ledger.moves import Short
from gateway.types import Asset

room = Room("promotions", "/platform/promotions")

GRANTS = "/platform/organizations/{subject_id}/grants"
LIFETIME_MAX = timedelta(days=3650)


class FeesTooLow(Refusal):
    status, slug, title = 409, "fees-too-low", "The platform's fees are less than that"


@room.get(access="platform.operate")
async def index(call: Call) -> Data[list[Budget]]:
    """Show what can still be given away in each asset, and what was given and is not spent yet."""
    return Data(data=await store.budgets(call.db))


@room.post("/budget", access="platform.operate", fails=[FeesTooLow])
async def fill(call: Call, *, body: FillRequest) -> Created[Data[Budget]]:
    """Put money into the promotion budget, from which everything that is given away comes.

    From `bank` it is the platform's own money from outside, which it owes to the publishers that it is spent
    with; from `fees` it is what the platform earned.
    """
    asset, amount = worth(call, body.asset_id, body.amount)
    cause_id = ids.new()
    try:
        await grants.fill(call.db, asset.id, amount, body.source, cause_id)
    except Short:
        raise FeesTooLow(f"the platform has earned less than {body.amount} {asset.symbol}") from None
    call.about(cause_id)
    return Created(Data(data=next(one for one in await store.budgets(call.db) if one.asset_id == asset.id)))


@room.get(at=GRANTS, access="platform.operate", fails=[NotFound])
async def given(call: Call, subject_id: UUID, *, limit: Limit = 50, offset: Offset = 0) -> Page[Grant]:
    """List what an organization was given, newest first."""
    if not await store.exists(call.db, subject_id):
        raise NotFound(f"no organization {subject_id}")
    found, total = await store.given(call.db, subject_id, limit, offset)
    return page(found, total, limit, offset)


@room.post(at=GRANTS, access="platform.operate", fails=[NotFound, BudgetEmpty])
async def give(call: Call, subject_id: UUID, *, body: GrantRequest) -> Created[Data[Grant]]:
    """Give an organization promotional money, from the promotion budget.

    It is spent before the organization's own, and what is left when it expires goes back to the budget.
    """
    if not await store.exists(call.db, subject_id):
        raise NotFound(f"no organization {subject_id}")
    asset, amount = worth(call, body.asset_id, body.amount)
    now = datetime.now(UTC)
    expires_at = body.expires_at or now + timedelta(days=call.ports.settings.promotions.expire_days)
    if not now < expires_at <= now + LIFETIME_MAX:
        raise invalid("body/expires_at", "is not in the next ten years")
    new = NewGrant(subject_id, asset.id, amount, "gift", ids.new(), body.description, expires_at)
    try:
        made = await grants.give(call.db, new)
    except Short:
        raise BudgetEmpty("nothing was given: fill it with POST /platform/promotions/budget") from None
    assert made is not None, "its cause is new"
    call.about(made["id"], organization_id=subject_id)
    return Created(Data(data=store.grant(made)))


def worth(call: Call, asset_id: UUID, text: str) -> tuple[Asset, int]:
    asset = accounts.of_networks(call.ports.settings.networks).get(asset_id)
    if asset is None:
        raise invalid("body/asset_id", "is not an asset of this gateway")
    try:
        amount = to_atomic(text, asset.decimals)
    except ValueError as error:
        raise invalid("body/amount", str(error)) from None
    if amount == 0:
        raise invalid("body/amount", "is nothing")
    return asset, amount
