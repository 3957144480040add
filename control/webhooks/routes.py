from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from pydantic import Field

from control.api.answers import Created
from control.api.fields import OrganizationId
from control.api.operation import Call, Room
from control.api.paging import Data, Limit, Offset
from control.webhooks import rules, store
from control.webhooks.models import (
    Delivery,
    DeliveryInFull,
    DescribedEventType,
    IssuedWebhook,
    NewWebhook,
    Replayed,
    ReplayRequest,
    State,
    Webhook,
    WebhookChange,
)
from gateway.kit import crypto, ids
from gateway.kit.problem import NotFound, Refusal, invalid
from gateway.kit.ssrf import Blocked
from gateway.ledger.event_types import CATALOGUE, EventType

room = Room("webhooks", "/organizations/{organization_id}/webhooks")

# Each event is sent to all of them, so their number bounds what one call sets in motion.
WEBHOOKS_MAX = 25
REPLAY_MAX = 1000
OVERLAP = timedelta(hours=24)


class TooManyWebhooks(Refusal):
    status, slug, title = 409, "too-many-webhooks", "Too many webhooks"


class WebhookDisabled(Refusal):
    status, slug, title = 409, "webhook-disabled", "The webhook is disabled"


class DeliveryWaiting(Refusal):
    status, slug, title = 409, "webhook-delivery-waiting", "The event is on its way"


@room.get(access="webhooks.read", id="list_webhooks")
async def index(call: Call, organization_id: OrganizationId) -> Data[list[Webhook]]:
    """List an organization's webhooks, oldest first."""
    return Data(data=await store.index(call.db, organization_id))


@room.post(access="webhooks.write", fails=[TooManyWebhooks], is_transaction=False, id="create_webhook")
async def create(
    call: Call, organization_id: OrganizationId, *, body: NewWebhook
) -> Created[Data[IssuedWebhook]]:
    """Register a webhook.

    Events are POSTed as JSON and signed by Standard Webhooks: the headers are `webhook-id`,
    `webhook-timestamp` and `webhook-signature`, and the libraries at standardwebhooks.com verify them with
    the secret, which is in this answer and nowhere else. Answer 2xx within 15 seconds; anything else, a
    redirect included, is tried again, eight times over about 27 hours. A message may come twice: tell them
    apart by `webhook-id`. 410 disables the webhook.
    """
    if body.project_id is not None and not await store.has_project(call.db, organization_id, body.project_id):
        raise invalid("body/project_id", "is not a project of this organization")
    await refuse_blocked(call, body.url)
    webhook_id, secret = ids.new(), rules.new_secret()
    sealed = call.ports.keyring.seal(secret.encode(), crypto.context(organization_id, webhook_id))
    async with call.transaction() as db:
        made = await store.insert(
            db, webhook_id, organization_id, call.actor.user_id, body, sealed, WEBHOOKS_MAX
        )
        if not made:
            raise TooManyWebhooks(f"an organization has up to {WEBHOOKS_MAX} webhooks; delete one")
        call.about(webhook_id)
    return Created(
        Data(data=IssuedWebhook(webhook=await found(call, organization_id, webhook_id), secret=secret))
    )


@room.get("/{webhook_id}", access="webhooks.read", fails=[NotFound], id="get_webhook")
async def show(call: Call, organization_id: OrganizationId, webhook_id: UUID) -> Data[Webhook]:
    """Show a webhook. Its secret is not shown again."""
    return Data(data=await found(call, organization_id, webhook_id))


@room.patch(
    "/{webhook_id}", access="webhooks.write", fails=[NotFound], is_transaction=False, id="update_webhook"
)
async def update(
    call: Call, organization_id: OrganizationId, webhook_id: UUID, *, body: WebhookChange
) -> Data[Webhook]:
    """Change a webhook.

    What is not sent stays as it is. Disabling it ends what waits for another attempt; enabling it again does
    not bring that back, a replay does.
    """
    if body.url is not None:
        await refuse_blocked(call, body.url)
    async with call.transaction() as db:
        if not await store.change(db, organization_id, webhook_id, body):
            raise NotFound(f"no webhook {webhook_id}")
    return Data(data=await found(call, organization_id, webhook_id))


@room.delete("/{webhook_id}", access="webhooks.write", fails=[NotFound], id="delete_webhook")
async def delete(call: Call, organization_id: OrganizationId, webhook_id: UUID) -> None:
    """Delete a webhook, and what waits to be delivered to it."""
    if not await store.delete(call.db, organization_id, webhook_id):
        raise NotFound(f"no webhook {webhook_id}")


@room.post(
    "/{webhook_id}/rotate-secret", access="webhooks.write", fails=[NotFound], id="rotate_webhook_secret"
)
async def rotate(call: Call, organization_id: OrganizationId, webhook_id: UUID) -> Data[IssuedWebhook]:
    """Make a new secret.

    For 24 hours messages carry two signatures, with the new secret and with the one before it; either
    verifies. The new one is in this answer and nowhere else.
    """
    secret = rules.new_secret()
    sealed = call.ports.keyring.seal(secret.encode(), crypto.context(organization_id, webhook_id))
    if not await store.rotate(call.db, organization_id, webhook_id, sealed, OVERLAP):
        raise NotFound(f"no webhook {webhook_id}")
    return Data(data=IssuedWebhook(webhook=await found(call, organization_id, webhook_id), secret=secret))


@room.get("/{webhook_id}/deliveries", access="webhooks.read", fails=[NotFound], id="list_webhook_deliveries")
async def index_deliveries(
    call: Call,
    organization_id: OrganizationId,
    webhook_id: UUID,
    *,
    state: Annotated[State | None, Field(description="Only those that are so.")] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> list[Delivery]:
    """List what a webhook was told, and what is on its way to it, newest first."""
    await found(call, organization_id, webhook_id)
    return await store.deliveries(call.db, webhook_id, state, limit, offset)


@room.post(
    "/{webhook_id}/deliveries/replay",
    access="webhooks.write",
    fails=[NotFound, WebhookDisabled],
    id="replay_webhook_deliveries",
)
async def replay_since(
    call: Call, organization_id: OrganizationId, webhook_id: UUID, *, body: ReplayRequest
) -> Data[Replayed]:
    """Deliver everything since a time once more.

    That is every event the webhook listens to, whether it was delivered, failed, or happened while the
    webhook was disabled or not there yet; under the `webhook-id` it had.
    """
    await require_enabled(call, organization_id, webhook_id)
    return Data(
        data=await store.replay_since(
            call.db, webhook_id, body.since, REPLAY_MAX, is_failed_only=body.only_failed
        )
    )


@room.get(
    "/{webhook_id}/deliveries/{delivery_id}",
    access="webhooks.read",
    fails=[NotFound],
    id="get_webhook_delivery",
)
async def show_delivery(
    call: Call, organization_id: OrganizationId, webhook_id: UUID, delivery_id: UUID
) -> Data[DeliveryInFull]:
    """Show a delivery with each attempt and what the receiver answered."""
    await found(call, organization_id, webhook_id)
    delivery = await store.delivery(call.db, webhook_id, delivery_id)
    if delivery is None:
        raise NotFound(f"no delivery {delivery_id}")
    return Data(data=delivery)


@room.post(
    "/{webhook_id}/deliveries/{delivery_id}/replay",
    access="webhooks.write",
    fails=[NotFound, WebhookDisabled, DeliveryWaiting],
    id="replay_webhook_delivery",
)
async def replay(
    call: Call, organization_id: OrganizationId, webhook_id: UUID, delivery_id: UUID
) -> Created[Data[DeliveryInFull]]:
    """Deliver an event once more, at once.

    The answer is a delivery of its own, under the same `webhook-id`. Refused while the event waits for an
    attempt at this webhook anyway.
    """
    await require_enabled(call, organization_id, webhook_id)
    made = await store.replay(call.db, webhook_id, delivery_id)
    delivery = await store.delivery(call.db, webhook_id, made or delivery_id)
    if delivery is None:
        raise NotFound(f"no delivery {delivery_id}")
    if made is None:
        raise DeliveryWaiting(
            "this event waits for an attempt at this webhook already, at its delivery's next_retry_at; to "
            "have it now, disable the webhook, enable it again, and replay"
        )
    return Created(Data(data=delivery))


@room.get(at="/webhooks/event-types", access="webhooks.read", id="list_event_types")
async def index_types(call: Call) -> Sequence[EventType]:
    """List the types of events that webhooks can be told of."""
    return sorted(CATALOGUE)


@room.get(
    at="/webhooks/event-types/{event_type}",
    access="webhooks.read",
    fails=[NotFound],
    id="get_event_type",
)
async def show_type(call: Call, event_type: str) -> Data[DescribedEventType]:
    """Show what a type of event means, with an example."""
    for name, one in CATALOGUE.items():
        if name == event_type:
            example = dict(one.example)
            return Data(data=DescribedEventType(type=name, description=one.sentence, example=example))
    raise NotFound(f"no event type {event_type}")


async def found(call: Call, organization_id: UUID, webhook_id: UUID) -> Webhook:
    webhook = await store.get(call.db, organization_id, webhook_id)
    if webhook is None:
        raise NotFound(f"no webhook {webhook_id}")
    return webhook


async def require_enabled(call: Call, organization_id: UUID, webhook_id: UUID) -> None:
    if not (await found(call, organization_id, webhook_id)).enabled:
        raise WebhookDisabled("enable the webhook first; nothing is delivered to it until then")


async def refuse_blocked(call: Call, url: str) -> None:
    try:
        await call.ports.guard.check(url)
    except Blocked as error:
        raise invalid("body/url", str(error)) from None
