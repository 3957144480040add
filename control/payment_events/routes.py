from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from control.api.answers import Done
from control.api.operation import Call, Header, Room
from control.api.paging import Data, Limit, Offset, Page, page
from control.payment_events import rules
from control.payment_events.models import (
    CardDebt,
    PaymentEvent,
    PaymentEventInFull,
    Provider,
    State,
    V1Taken,
)
from control.processors import events, reversals
from control.processors.port import BadPayload, BadSignature, CardPaymentsNotConfigured, Checkouts
from gateway.kit.problem import NotFound, Refusal

room = Room("payment_events", "/platform/payment-events")


class SignatureInvalid(Refusal):
    status, slug, title = 400, "webhook-signature-invalid", "The webhook is not signed as it should be"


class V1BadSignature(Refusal):
    status, slug, title = 401, "bad-signature", "The webhook is not signed as it should be"


class V1BadPayload(Refusal):
    status, slug, title = 400, "bad-payload", "The webhook is no event"


class V1NotConfigured(Refusal):
    status, slug, title = 503, "not-configured", "Polar is not configured"


Signature = Annotated[str | None, Header("Stripe-Signature")]
WebhookId = Annotated[str | None, Header("webhook-id")]
WebhookTimestamp = Annotated[str | None, Header("webhook-timestamp")]
WebhookSignature = Annotated[str | None, Header("webhook-signature")]


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
    webhook_id: WebhookId = None,
    webhook_timestamp: WebhookTimestamp = None,
    webhook_signature: WebhookSignature = None,
    body: bytes,
) -> Done:
    """Take an event of Polar's, signed by Standard Webhooks.

    Only Polar calls this. Otherwise it is as for Stripe.
    """
    polar = call.ports.processors.polar
    if polar is None:
        raise CardPaymentsNotConfigured("this installation has no FAREBOX_POLAR__ACCESS_TOKEN")
    return await take(call, polar, body, standard(webhook_id, webhook_timestamp, webhook_signature))


@room.post(
    at="/v1/billing/webhook",
    access=None,
    fails=[V1BadSignature, V1BadPayload, V1NotConfigured],
    is_change=False,
    id="v1_handle_polar_webhook",
)
async def of_polar_at_v1(
    call: Call,
    *,
    webhook_id: WebhookId = None,
    webhook_timestamp: WebhookTimestamp = None,
    webhook_signature: WebhookSignature = None,
    body: bytes,
) -> V1Taken:
    """Take an event of Polar's, at the address that clients of `/v1` have registered there.

    The same as `POST /webhooks/polar`: an event that comes to both is one.
    """
    polar = call.ports.processors.polar
    if polar is None:
        raise V1NotConfigured("this installation has no FAREBOX_POLAR__ACCESS_TOKEN")
    try:
        await kept(call, polar, body, standard(webhook_id, webhook_timestamp, webhook_signature))
    except (BadPayload, UnicodeDecodeError) as error:
        raise V1BadPayload(str(error)) from None
    except BadSignature as error:
        raise V1BadSignature(str(error)) from None
    return V1Taken(ignored=rules.ignored(polar.read(body)))


def standard(id: str | None, timestamp: str | None, signature: str | None) -> dict[str, str]:
    """The headers of Standard Webhooks."""
    return {
        "webhook-id": id or "", "webhook-timestamp": timestamp or "", "webhook-signature": signature or "",
    }  # fmt: skip


async def take(call: Call, processor: Checkouts, body: bytes, headers: dict[str, str]) -> Done:
    try:
        await kept(call, processor, body, headers)
    except (BadSignature, UnicodeDecodeError) as error:
        raise SignatureInvalid(str(error)) from None
    return Done()


async def kept(call: Call, processor: Checkouts, body: bytes, headers: dict[str, str]) -> None:
    """Stored as it came, once; what it means is found out by the job."""
    event_id, kind = processor.verify(body, headers)
    await events.store(call.db, processor.provider, event_id, kind, body.decode())


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
