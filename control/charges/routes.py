from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from control.api.operation import Call, Room
from control.api.sellers import PublisherSuspended, Seller, seller
from control.charges import rules, store
from control.charges.models import Charge, NewCharge, RefundCharge, SlashCharge
from control.charges.store import Accepted, Charged
from gateway.answers.again import KeyReused
from gateway.kit import ids, money
from gateway.kit.problem import NotFound, Refusal, invalid
from gateway.ledger import charging, events
from gateway.ledger.moves import Short

room = Room("charges", "/billing/publishers/{slug}/charges")


class NotFirstParty(Refusal):
    status, slug, title = 403, "not-first-party", "Only first-party publishers charge wallets"


class InsufficientBalance(Refusal):
    status, slug, title = 402, "insufficient-balance", "Insufficient balance"


class OwnWallet(Refusal):
    status, slug, title = 409, "own-wallet", "The wallet is the publisher's own"


class NothingAccepted(Refusal):
    status, slug, title = 409, "no-asset-accepted", "No asset to charge in"


class RefundExceedsCharge(Refusal):
    status, slug, title = 409, "refund-exceeds-charge", "Refund exceeds the charge"


class SlashExceedsCharge(Refusal):
    status, slug, title = 409, "slash-exceeds-charge", "Penalty exceeds the charge"


class EarningsTooLow(Refusal):
    status, slug, title = 409, "earnings-too-low", "Earnings too low"


@room.post(
    access="charges.write",
    fails=[NotFound, NotFirstParty, PublisherSuspended, InsufficientBalance, OwnWallet, NothingAccepted],
    is_once=True,
    id="create_charge",
)
async def create(call: Call, slug: str, *, body: NewCharge) -> Charge:
    """Charge an agent's wallet without a call of its own.

    Only for publishers that the operator marked as first-party: they take money that its owner did not
    send. The wallet is an address that proved itself by a payment here, and its organization pays from the
    balance, in the money of your key and in the first of the publisher's accepted assets in which it has
    enough: what it was given first, as for calls, unless the same person made both organizations. The
    platform's fee is taken as from a call. The spend caps of its API keys do not count it: none
    of them asked. Under the same `idempotency_key`, or the same `Idempotency-Key` header, it is charged once.
    """
    publisher = await selling(call, slug)
    payer_id = await store.payer(call.db, body.agent_wallet.lower())
    if payer_id is None:
        raise NotFound(f"no wallet {body.agent_wallet}")
    if payer_id == publisher.organization_id:
        raise OwnWallet("an organization does not charge its own balance")
    accepted = await store.accepted(call.db, publisher.id, call.actor.mode)
    if not accepted:
        raise NothingAccepted(f"{slug} accepts no {call.actor.mode} money from balances")
    for asset, amount in in_assets(accepted, body.amount_atomic):
        try:
            charged = await charge(call, publisher, payer_id, body, asset, amount)
        except Short:
            continue
        call.about(charged.id, organization_id=publisher.organization_id)
        return rules.shown(charged)
    amount_text = f"${money.usd(body.amount_atomic)}"
    raise InsufficientBalance(f"{body.agent_wallet} has less than {amount_text} in any asset of {slug}")


def in_assets(accepted: Sequence[Accepted], millionths: int) -> Sequence[tuple[Accepted, int]]:
    """The amount in each asset that is fine enough for it."""
    found = []
    for asset in accepted:
        with suppress(ValueError):
            found.append((asset, money.of_millionths(millionths, asset.decimals)))
    if not found:
        raise invalid("body/amount_atomic", "is finer than the assets that the publisher accepts")
    return found


async def selling(call: Call, slug: str) -> Seller:
    publisher = await seller(call, slug, "charges.write")
    if not publisher.is_first_party:
        raise NotFirstParty("the operator has not marked this publisher as first-party")
    publisher.require_standing()
    return publisher


async def charge(
    call: Call, publisher: Seller, payer_id: UUID, body: NewCharge, asset: Accepted, amount: int
) -> Charged:
    """In this asset, or ``Short`` and nothing is done."""
    fee = amount * call.ports.settings.fees.platform_basis_points // 10_000
    one = charging.Charge(
        ids.new(), publisher.id, publisher.organization_id, payer_id, body.agent_wallet.lower(), asset.id,
        amount, fee, body.description,
    )  # fmt: skip
    digest = rules.digest_of(body, call.actor.mode)
    # Money that is not there takes the row back as well, so that another asset may be tried.
    async with store.attempt(call.db):
        if not await store.insert(call.db, one, body.idempotency_key, digest):
            assert body.idempotency_key is not None, "nothing else is in its way"
            return await again(call, publisher.id, body.idempotency_key, digest)
        await charging.charge(call.db, one)
    made = await known(call, publisher, one.id)
    told = rules.told(made, publisher.slug, amount, body.description)
    await events.emit(call.db, payer_id, "charge.created", told)
    return made


async def again(call: Call, publisher_id: UUID, key: UUID, digest: bytes) -> Charged:
    first = await store.named(call.db, publisher_id, key)
    assert first is not None, "charges stay"
    if first.digest != digest:
        raise KeyReused("body/idempotency_key was used for another charge; use a new one")
    return first


@room.get("/{charge_id}", access="charges.read", fails=[NotFound], id="get_charge_status")
async def show(call: Call, slug: str, charge_id: UUID) -> Charge:
    """Show a charge, and how much of it was given back."""
    return rules.shown(await known(call, await seller(call, slug, "charges.read"), charge_id))


async def known(call: Call, publisher: Seller, charge_id: UUID) -> Charged:
    found = await store.find(call.db, publisher.id, charge_id, call.actor.mode)
    if found is None:
        raise NotFound(f"no charge {charge_id}")
    return found


@room.post(
    "/{charge_id}/refund",
    access="charges.write",
    fails=[NotFound, RefundExceedsCharge, EarningsTooLow],
    is_once=True,
    id="refund_charge",
)
async def refund(call: Call, slug: str, charge_id: UUID, *, body: RefundCharge) -> Charge:
    """Give a charge back, all that is left of it or a part.

    First to the payer's own money, as far as that paid, and then to what it was given, which goes on to the
    promotion budget if it has expired meanwhile. The platform's fee comes back in proportion: a charge that
    is refunded in whole leaves every other balance as it was before. What was earned and paid out already
    cannot be refunded. Penalties stay. Send an `Idempotency-Key`, or a part that is sent twice is refunded
    twice.
    """
    publisher = await seller(call, slug, "charges.write")
    one = await locked(call, publisher, charge_id)
    amount = part(body.amount_atomic, one, "body/amount_atomic", one.amount - one.refunded)
    if amount > one.amount - one.refunded or not amount:
        left = rules.text(one.amount - one.refunded, one)
        raise RefundExceedsCharge(f"of this charge, {left} is left to be refunded")
    refund_id = ids.new()
    await store.refund(call.db, one.id, refund_id, amount, body.reason)
    try:
        await charging.refund(call.db, refund_id, one.id, amount, f"Refund of a charge: {body.reason}")
    except Short:
        raise EarningsTooLow(
            "the publisher's earnings do not cover the refund: they were paid out, or refunded"
        ) from None
    told = rules.told(one, publisher.slug, amount, body.reason)
    await events.emit(call.db, one.payer_id, "charge.refunded", told)
    call.about(one.id, organization_id=publisher.organization_id)
    return rules.shown(await known(call, publisher, charge_id))


@room.post(
    "/{charge_id}/slash",
    access="charges.write",
    fails=[NotFound, NotFirstParty, PublisherSuspended, InsufficientBalance, SlashExceedsCharge],
    is_once=True,
    id="slash_charge",
)
async def slash(call: Call, slug: str, charge_id: UUID, *, body: SlashCharge) -> None:
    """Take a penalty for a charge from the agent's balance, for the publisher.

    In the asset of the charge, and from what the agent was given first. Penalties come in sum to no more than
    what of the charge is not refunded, so there is none for a charge that was refunded in whole. The platform
    takes no fee of it. A later refund gives back the charge and not the penalty. Send an `Idempotency-Key`,
    or a penalty that is sent twice is taken twice.
    """
    publisher = await selling(call, slug)
    one = await locked(call, publisher, charge_id)
    amount = part(body.slash_amount_atomic, one, "body/slash_amount_atomic", 0)
    if one.slashed + amount > one.amount - one.refunded:
        left = rules.text(max(one.amount - one.refunded - one.slashed, 0), one)
        raise SlashExceedsCharge(f"a penalty for this charge may be {left} more")
    slash_id = ids.new()
    await store.slash(call.db, one.id, slash_id, amount, body.reason)
    try:
        await charging.slash(call.db, slash_id, of(one, publisher), amount, f"Penalty: {body.reason}")
    except Short:
        raise InsufficientBalance(f"{one.agent_wallet} has less than {rules.text(amount, one)}") from None
    told = rules.told(one, publisher.slug, amount, body.reason)
    await events.emit(call.db, one.payer_id, "charge.slashed", told)
    call.about(one.id, organization_id=publisher.organization_id)


async def locked(call: Call, publisher: Seller, charge_id: UUID) -> Charged:
    found = await store.lock(call.db, publisher.id, charge_id, call.actor.mode)
    if found is None:
        raise NotFound(f"no charge {charge_id}")
    return found


def part(millionths: int | None, one: Charged, pointer: str, default: int) -> int:
    if millionths is None:
        return default
    try:
        return money.of_millionths(millionths, one.decimals)
    except ValueError as error:
        raise invalid(pointer, str(error)) from None


def of(one: Charged, publisher: Seller) -> charging.Charge:
    return charging.Charge(
        one.id, one.publisher_id, publisher.organization_id, one.payer_id, one.agent_wallet, one.asset_id,
        one.amount, one.fee, one.description,
    )  # fmt: skip
