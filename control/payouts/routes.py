from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from asyncpg import Record

from control.api.access import Forbidden
from control.api.answers import Created
from control.api.fields import OrganizationId
from control.api.operation import Call, Room
from control.api.paging import Data, Limit, Offset, Page, page
from control.api.sellers import PublisherSuspended, Seller, seller
from control.payouts import rules, store
from control.payouts.models import (
    BilledPayout,
    Decision,
    NewPayout,
    NewPublisherPayout,
    OperatedPayout,
    PublisherPayout,
    Status,
)
from gateway.answers.again import KeyReused
from gateway.kit import ids, money
from gateway.kit.problem import NotFound, Refusal, invalid
from gateway.ledger import payouts
from gateway.ledger.moves import Short
from gateway.ledger.payouts import Payout, Request

room = Room("payouts", "/billing/publishers/{slug}/payouts")

OF_ORGANIZATION = "/organizations/{organization_id}/publishers/{publisher_id}/payouts"


class EarningsTooLow(Refusal):
    status, slug, title = 409, "earnings-too-low", "Earnings too low"


class PayoutUnderWay(Refusal):
    status, slug, title = 409, "payout-under-way", "Payout under way"


class PayoutDecided(Refusal):
    status, slug, title = 409, "payout-decided", "Payout decided"


@room.post(
    access="payouts.write",
    fails=[NotFound, PublisherSuspended, EarningsTooLow],
    is_once=True,
    id="create_payout",
)
async def create(call: Call, slug: str, *, body: NewPayout) -> BilledPayout:
    """Have earnings paid out, in dollars.

    In the money of your key, and in the first of the publisher's assets in which so much is earned. The
    amount leaves the earnings now and is sent in the background, by a key of this gateway or by the operator.
    Earnings may have to be some days old first, as the operator says. Promotional money of the same people is
    not paid out, nor what you owe, nor anything to a key with caps.
    Under the same `idempotency_key`, or the same `Idempotency-Key` header, it is paid once.
    """
    publisher = await seller(call, slug, "payouts.write")
    publisher.require_standing()
    require_uncapped(call)
    made = await once(call, publisher, body)
    call.about(made.id, organization_id=publisher.organization_id)
    return rules.billed(made)


def require_uncapped(call: Call) -> None:
    """Whoever may spend a dollar a day does not send all that was earned to a wallet of their own."""
    if call.actor.is_capped:
        raise Forbidden("a key with spend caps has nothing paid out")


async def once(call: Call, publisher: Seller, body: NewPayout) -> Payout:
    key, digest = body.idempotency_key, rules.digest_of(body, call.actor.mode)
    # First, because what it took may be missing to ask for it again.
    if key is not None and (first := await again(call, publisher.id, key, digest)):
        return first
    asset, amount = await chosen(call, publisher.organization_id, publisher.id, body.amount_atomic)
    request = Request(
        ids.new(), publisher.id, publisher.organization_id, asset["id"], amount, body.destination_wallet,
        body.description, key, digest,
    )  # fmt: skip
    if await ask(call, request, asset):
        return await known(call, request.id)
    assert key is not None, "somebody was quicker under the same key, and nothing else is in its way"
    quicker = await again(call, publisher.id, key, digest)
    assert quicker is not None, "payouts stay"
    return quicker


async def chosen(
    call: Call, organization_id: UUID, publisher_id: UUID, millionths: int
) -> tuple[Record, int]:
    """The first asset that has so much earned in it."""
    age = call.ports.settings.payouts.age
    for asset in await store.earned(call.db, organization_id, publisher_id, call.actor.mode):
        try:
            amount = money.of_millionths(millionths, asset["decimals"])
        except ValueError:
            continue
        if await payouts.available(call.db, organization_id, asset["id"], age) >= amount:
            return asset, amount
    raise EarningsTooLow(f"in no asset is so much earned{rules.old_enough(age)} and not paid out")


async def again(call: Call, publisher_id: UUID, key: UUID, digest: bytes) -> Payout | None:
    payout_id = await store.named(call.db, publisher_id, key)
    if payout_id is None:
        return None
    first = await known(call, payout_id)
    if first.digest != digest:
        raise KeyReused("body/idempotency_key was used for another payout; use a new one")
    return first


async def ask(call: Call, request: Request, asset: Record) -> bool:
    """Check the destination and the amount, and set it aside; False when its key is taken."""
    settings = call.ports.settings
    if flaw := rules.flaw_of(request.destination, asset["network"], settings.networks):
        raise invalid("body/destination_wallet", flaw)
    if not rules.is_enough(request.amount, asset["decimals"], settings.payouts.minimum):
        least = f"{settings.payouts.minimum} {asset['symbol']}"
        had = money.to_text(request.amount, asset["decimals"])
        raise invalid("body/amount_atomic", f"{had} is less than the least payout, {least}")
    is_manual = rules.is_manual(asset["network"], settings.networks, is_always=settings.payouts.is_manual)
    age = settings.payouts.age
    request = replace(request, destination=request.destination.lower(), is_manual=is_manual, age=age)
    try:
        return await payouts.request(call.db, request)
    except Short:
        raise EarningsTooLow(
            f"less than that is earned{rules.old_enough(age)} and not paid out; what the same people were "
            "given or owe is not counted"
        ) from None


@room.get("/{payout_id}", access="payouts.read", fails=[NotFound], id="get_payout_status")
async def show(call: Call, slug: str, payout_id: UUID) -> BilledPayout:
    """Show how a payout stands."""
    publisher = await seller(call, slug, "payouts.read")
    found = await payouts.find(call.db, payout_id)
    if found is None or found.publisher_id != publisher.id or found.mode != call.actor.mode:
        raise NotFound(f"no payout {payout_id}")
    return rules.billed(found)


@room.get(at=OF_ORGANIZATION, access="payouts.read", fails=[NotFound], id="list_org_publisher_payouts")
async def index(
    call: Call, organization_id: OrganizationId, publisher_id: UUID, *, limit: Limit = 50, offset: Offset = 0
) -> Page[PublisherPayout]:
    """List a publisher's payouts, newest first, in the money of your key.

    A publisher that was deleted has its payouts still.
    """
    if await store.publisher(call.db, organization_id, publisher_id) is None:
        raise NotFound(f"no publisher {publisher_id}")
    total, found = await store.page(call.db, publisher_id, call.actor.mode, limit, offset)
    listed = await payouts.of(call.db, found)
    networks = call.ports.settings.networks
    assets = await assets_of(call, listed)
    return page(
        [rules.shown(one, assets[one.asset_id], networks) for one in reversed(listed)], total, limit, offset
    )


@room.post(
    at=OF_ORGANIZATION,
    access="payouts.write",
    fails=[NotFound, PublisherSuspended, EarningsTooLow],
    id="create_org_publisher_payout",
)
async def create_of_organization(
    call: Call, organization_id: OrganizationId, publisher_id: UUID, *, body: NewPublisherPayout
) -> Created[Data[PublisherPayout]]:
    """Have earnings paid out, in one asset, on the asset's own network.

    Earnings are the organization's: its publishers share what is available. The amount leaves them now and
    is sent in the background.
    """
    publisher = await store.publisher(call.db, organization_id, publisher_id)
    if publisher is None:
        raise NotFound(f"no publisher {publisher_id}")
    if publisher["is_suspended"]:
        raise PublisherSuspended("the operator has suspended this publisher")
    require_uncapped(call)
    asset = await store.asset(call.db, organization_id, publisher_id, body.asset_id)
    if asset is None:
        raise invalid("body/asset_id", "is not an asset that this publisher accepts or has earned")
    if asset["mode"] != call.actor.mode:
        raise invalid(
            "body/asset_id", f"is {asset['mode']} money, and your key is for {call.actor.mode} money"
        )
    age = call.ports.settings.payouts.age
    available = await payouts.available(call.db, organization_id, asset["id"], age)
    amount = body.amount_atomic or available
    if amount <= 0:
        raise EarningsTooLow(f"nothing is earned{rules.old_enough(age)} and not paid out in this asset")
    request = Request(
        ids.new(), publisher_id, organization_id, asset["id"], amount, destination(body, publisher, asset),
        f"earnings of {publisher['slug']}", None, bytes(32),
    )  # fmt: skip
    await ask(call, request, asset)
    found = await known(call, request.id)
    assets = await assets_of(call, [found])
    return Created(Data(data=rules.shown(found, assets[found.asset_id], call.ports.settings.networks)))


def destination(body: NewPublisherPayout, publisher: Record, asset: Record) -> str:
    if body.destination_wallet is not None:
        return body.destination_wallet
    if publisher["wallet_network_id"] != asset["network"]:
        # A wallet that is a contract may be nobody's on another chain.
        where = f"the publisher's own is on {publisher['wallet_network_id']}, the asset on {asset['network']}"
        raise invalid("body/destination_wallet", f"is needed: {where}")
    return str(publisher["wallet_address"])


@room.get(at="/platform/payouts", access="platform.operate")
async def index_of_all(
    call: Call, *, status: Status | None = None, limit: Limit = 50, offset: Offset = 0
) -> Page[OperatedPayout]:
    """List everybody's payouts, newest first: `queued` ones that are manual wait for you."""
    state = rules.STATES[status] if status else None
    total, found = await store.page_of_all(call.db, state, limit, offset)
    listed = await payouts.of(call.db, found)
    assets, networks = await assets_of(call, listed), call.ports.settings.networks
    shown = [rules.operated(one, assets[one.asset_id], networks) for one in reversed(listed)]
    return page(shown, total, limit, offset)


@room.patch(
    at="/platform/payouts/{payout_id}",
    access="platform.operate",
    fails=[NotFound, PayoutUnderWay, PayoutDecided],
)
async def decide(call: Call, payout_id: UUID, *, body: Decision) -> Data[OperatedPayout]:
    """Say what became of a payout that was sent by hand, or that came back.

    One that is signed is decided by the chain: nobody says that it failed while it can still be mined. Only
    of one in doubt, where the chain has no answer, you have the last word.
    """
    one = await payouts.lock(call.db, payout_id)
    if one is None:
        raise NotFound(f"no payout {payout_id}")
    if one.state == "submitted" and one.doubt is None:
        raise PayoutUnderWay("it is signed and can still be mined; the chain decides")
    if not await carried_out(call, one, body):
        raise PayoutDecided(f"a payout that is {rules.STATUSES[one.state]} does not become {body.status}")
    found = await known(call, payout_id)
    assets = await assets_of(call, [found])
    return Data(data=rules.operated(found, assets[found.asset_id], call.ports.settings.networks))


async def carried_out(call: Call, one: Payout, body: Decision) -> bool:
    if body.status == "sent":
        if body.reference is None:
            raise invalid("body/reference", "is needed: by it the transfer is found")
        # What is in doubt was signed here, so wherever it went, it left by the chain.
        clearing = "chain" if one.state == "submitted" else body.paid_from
        return await payouts.sent(call.db, one, clearing, reference=body.reference)
    if body.reason is None:
        raise invalid("body/reason", "is needed: the publisher reads it")
    decided = payouts.failed if body.status == "failed" else payouts.returned
    return await decided(call.db, one, body.reason)


async def known(call: Call, payout_id: UUID) -> Payout:
    found = await payouts.find(call.db, payout_id)
    assert found is not None, "payouts stay"
    return found


async def assets_of(call: Call, listed: Sequence[Payout]) -> Mapping[UUID, Record]:
    return await store.assets(call.db, [one.asset_id for one in listed])
