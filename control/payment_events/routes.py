from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from control.api.answers import Done
from control.api.operation import Call, Header, Room
from control.api.paging import Data, Limit, Offset, Page, page
from control.payment_events.models import CardDebt, PaymentEvent, PaymentEventInFull, Provider, State
from control.processors import events, reversals
from control.processors.port import BadSignature, CardPaymentsNotConfigured, Checkouts
from gateway.kit.problem import NotFound, Refusal

room = Room("payment_events", "/platform/payment-events")


class SignatureInvalid(Refusal):
    status, slug, title = 400, "webhook-signature-invalid", "The webhook is not signed as it should be"


Signature = Annotated[str | None, Header("Stripe-Signature")]


@room.post(
    at="/webhooks/stripe",
    access=None,
    fails=[SignatureInvalid, CardPaymentsNotConfigured],
    is_change=False,
    id="handle_stripe_webhook",
)
async def of_stripe(call: Call, *, stripe_signature: Signature = None, body: bytes) -> Done:
    """Take an event of Stripe's.

    Only Stripe calls this: events are signed with the endpoint's secret, and refused five minutes later.
    It is answered once the event is stored; what it means is done by a job. One that comes again changes
    nothing.
    """
    if call.ports.processors.stripe is None:
        raise CardPaymentsNotConfigured("this installation has no FAREBOX_STRIPE__SECRET_KEY")
    return await take(call, call.ports.processors.stripe, body, {"Stripe-Signature": stripe_signature or ""})


@room.post(
    at="/webhooks/polar",
    access=None,
    fails=[SignatureInvalid, CardPaymentsNotConfigured],
    is_change=False,
    id="handle_polar_webhook",
)
async def of_polar(
    call: Call,
    *,
    webhook_id: Annotated[str | None, Header("webhook-id")] = None,
    webhook_timestamp: Annotated[str | None, Header("webhook-timestamp")] = None,
    webhook_signature: Annotated[str | None, Header("webhook-signature")] = None,
    body: bytes,
) -> Done:
    """Take an event of Polar's, signed by Standard Webhooks.

    Only Polar calls this. Otherwise it is as for Stripe.
    """
    if call.ports.processors.polar is None:
        raise CardPaymentsNotConfigured("this installation has no FAREBOX_POLAR__ACCESS_TOKEN")
    headers = {
        "webhook-id": webhook_id or "",
        "webhook-timestamp": webhook_timestamp or "",
        "webhook-signature": webhook_signature or "",
    }
    return await take(call, call.ports.processors.polar, body, headers)


async def take(call: Call, processor: Checkouts, body: bytes, headers: dict[str, str]) -> Done:
    try:
        event_id, kind = processor.verify(body, headers)
        text = body.decode()
    except (BadSignature, UnicodeDecodeError) as error:
        raise SignatureInvalid(str(error)) from None
    await events.store(call.db, processor.provider, event_id, kind, text)
    return Done()


@room.get(access="platform.operate", id="payment_events.index")
async def index(
    call: Call,
    *,
    state: State | None = None,
    provider: Provider | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Page[PaymentEvent]:
    """List what payment processors told this installation, newest first.

    Also what was ignored, and why. What failed stays until you have looked at it.
    """
    found, total = await events.index(call.db, state, provider, limit, offset)
    return page([PaymentEvent(**asdict(one)) for one in found], total, limit, offset)


@room.get("/{event_id}", access="platform.operate", fails=[NotFound], id="payment_events.show")
async def show(call: Call, event_id: UUID) -> Data[PaymentEventInFull]:
    """Show one event with what was sent."""
    found = await events.find(call.db, event_id)
    if found is None:
        raise NotFound(f"no payment event {event_id}")
    event, body = found
    return Data(data=PaymentEventInFull(**asdict(event), body=body))


@room.post("/{event_id}/retry", access="platform.operate", fails=[NotFound], id="payment_events.retry")
async def retry(call: Call, event_id: UUID) -> Data[PaymentEvent]:
    """Try an event once more, now, that failed, was ignored or waits.

    Money that was credited is not credited again.
    """
    call.about(event_id)
    event = await events.again(call.db, event_id)
    if event is None:
        raise NotFound(f"no payment event {event_id} that is not done")
    return Data(data=PaymentEvent(**asdict(event)))


@room.get(at="/platform/card-debts", access="platform.operate", id="payment_events.debts")
async def debts(call: Call, *, limit: Limit = 50, offset: Offset = 0) -> Page[CardDebt]:
    """List what organizations owe, because it was refunded or disputed after they had spent it, oldest first.

    It is taken by itself as soon as they have money again.
    """
    found, total = await reversals.debts(call.db, limit, offset)
    shown = [
        CardDebt(
            **{name: value for name, value in asdict(one).items() if name not in ("amount", "taken", "owed")},
            amount_atomic=one.amount,
            taken_atomic=one.taken,
            owed_atomic=one.owed,
        )
        for one in found
    ]
    return page(shown, total, limit, offset)
