from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from control.api.operation import Call, Header, Room
from control.api.paging import Data
from control.api.wording import shaped
from control.deposit.models import DepositRequest, DepositResponse, DepositStatus
from control.processors import payments
from control.processors.payments import NewPayment, Payment
from control.processors.port import (
    Asked,
    CardPaymentsNotConfigured,
    Checkouts,
    ProcessorRefused,
    ProcessorUnavailable,
)
from gateway.answers.again import KeyReused
from gateway.kit import money
from gateway.kit.problem import Invalid, NotFound, invalid
from gateway.kit.sql import Db

room = Room("deposit", "/wallet/deposit")

MILLIONTHS_PER_CENT = 10_000
# Stripe forgets idempotency keys after a day: asked again later, it would make a second page.
ASKED_AGAIN = timedelta(hours=23)

RequestKey = Annotated[
    str | None,
    Header("Idempotency-Key"),
    shaped(
        r"^[\x21-\x7e]+$",
        "printable ASCII without spaces",
        min_length=1,
        max_length=255,
        description="Sent again, the same deposit.",
    ),
]


@room.post(
    access="wallet.deposit",
    fails=[CardPaymentsNotConfigured, ProcessorUnavailable, ProcessorRefused, KeyReused, Invalid],
    is_transaction=False,
    id="create_deposit",
)
async def create(
    call: Call, *, idempotency_key: RequestKey = None, body: DepositRequest
) -> Data[DepositResponse]:
    """Deposit by card.

    Open `checkout_url` in a browser and pay there: no card number passes this server. The money is in the
    wallet when the processor has told us so, usually a few seconds after it was paid; `GET
    /wallet/deposit/{deposit_id}` says when. Your key's mode chooses live or test money. The same
    `Idempotency-Key` sent again is the same deposit.
    """
    limits = call.ports.settings.card_payments
    if not limits.deposit_cents_min <= body.amount_cents <= limits.deposit_cents_max:
        said = f"is not between {limits.deposit_cents_min} and {limits.deposit_cents_max} cents"
        raise invalid("body/amount_cents", said)
    processor = call.ports.processors.taking(call.actor.mode, body.provider)
    asset = processor.asset
    new = NewPayment(
        call.actor.organization_id, call.actor.user_id, processor.provider, asset.id, body.amount_cents,
        payments.atomic(body.amount_cents, asset.decimals), None, idempotency_key, body.referral_code,
    )  # fmt: skip
    async with call.transaction() as db:
        payment = await payments.begin(db, new) or await found_again(db, new)
        call.about(payment.id)
    url = payment.url or await opened(call, processor, payment)
    total = payment.amount_cents * MILLIONTHS_PER_CENT
    answer = DepositResponse(
        deposit_id=payment.id,
        checkout_url=url,
        asset_id=payment.asset_id,
        amount_atomic=total,
        amount_usd=money.to_text(total, 6),
        bonus_atomic=0,
        bonus_usd="0",
        total_atomic=total,
        total_usd=money.to_text(total, 6),
    )
    return Data(data=answer)


async def found_again(db: Db, new: NewPayment) -> Payment:
    assert new.request_key is not None, "without a key nothing is in a deposit's place"
    payment = await payments.by_request(db, new.organization_id, new.request_key)
    assert payment is not None, "payments are never removed"
    asked = (new.provider, new.asset_id, new.amount_cents, new.invoice_id)
    if (payment.provider, payment.asset_id, payment.amount_cents, payment.invoice_id) != asked:
        raise KeyReused("this key was used for another deposit; use a new key")
    if payment.url is None and payment.created_at < datetime.now(UTC) - ASKED_AGAIN:
        raise KeyReused("this key was used for a deposit that came to nothing; use a new key")
    return payment


async def opened(call: Call, processor: Checkouts, payment: Payment) -> str:
    """The page to pay on. Asked twice, by two requests or after a crash, it is the same page."""
    # All of it follows from the row: the same idempotency key with other parameters is refused.
    asked = Asked(payment.id, payment.amount_cents, "Deposit", f"{call.ports.origin}/")
    standing = await processor.checkout(asked)
    async with call.transaction() as db:
        await payments.stands(db, payment.id, standing)
    assert standing.url is not None, "a page that was just made has an address"
    return standing.url


@room.get("/{deposit_id}", access="wallet.read", fails=[NotFound], id="get_deposit")
async def show(call: Call, deposit_id: UUID) -> Data[DepositStatus]:
    """Show how a deposit by card stands."""
    payment = await payments.own(call.db, deposit_id, call.actor.organization_id, call.actor.mode)
    if payment is None or payment.purpose != "deposit":
        raise NotFound(f"no deposit {deposit_id}")
    answer = DepositStatus(
        deposit_id=payment.id,
        status=payment.state,
        amount_cents=payment.amount_cents,
        checkout_url=payment.url if payment.state == "open" else None,
    )
    return Data(data=answer)
