"""What an event makes us look at.

Nothing of an event but its type and an id is believed, and the type only says where to look: how the payment
stands is asked for. So events may come in any order, twice, or late, and the last look is always right.
"""

from collections.abc import Mapping
from typing import Any

from control.processors import booking, methods, subscriptions
from control.processors.port import (
    CardPaymentsNotConfigured,
    Cards,
    Orders,
    ProcessorRefused,
    Processors,
    Provider,
    Told,
)
from gateway.kit.sql import Pool

UNKNOWN = "the processor knows no such object under our key"
UNUSED = "nothing here depends on this type"


async def apply(pool: Pool, processors: Processors, provider: Provider, body: bytes) -> str | None:
    """None once it is done; a text says why there was nothing to do."""
    processor = processors.stripe if provider == "stripe" else processors.polar
    if processor is None:
        raise CardPaymentsNotConfigured(f"{provider} is not in the settings any more")
    told = processor.read(body)
    if told.account is not None:
        return f"of another account, {told.account[:100]}"
    if told.is_live is not None and told.is_live != (processor.mode == "live"):
        return "live mode of the event and of our key differ"
    try:
        if processors.stripe is not None and provider == "stripe":
            return await of_stripe(pool, processors.stripe, told)
        assert processors.polar is not None, "it is one of the two"
        return await of_polar(pool, processors.polar, told)
    except ProcessorRefused:
        return UNKNOWN


async def of_stripe(pool: Pool, stripe: Cards, told: Told) -> str | None:
    subject_id = text(told.subject, "id")
    match told.type.split("."):
        case ["checkout", "session", *_]:
            return await booking.settle(pool, "stripe", await stripe.checkout_standing(subject_id))
        case ["payment_intent", *_]:
            return await booking.settle(pool, "stripe", await stripe.intent_standing(subject_id))
        case ["charge", *_] | ["refund", *_]:
            return await money_back(pool, stripe, told)
        case ["payment_method", *_]:
            card = await stripe.card(subject_id)
            async with pool.acquire() as db, db.transaction():
                is_known = await methods.refresh(db, stripe, subject_id, card)
            return None if is_known else "no card that was added here"
        case _:
            return UNUSED


async def money_back(pool: Pool, stripe: Cards, told: Told) -> str | None:
    """Of a charge, of its refunds or of its disputes; all of them name the payment intent."""
    named = told.subject.get("payment_intent")
    intent_id = text(named, "id") if isinstance(named, Mapping) else named
    if not isinstance(intent_id, str):
        return "of no payment intent"
    standing = await stripe.intent_standing(intent_id)
    return await booking.settle(pool, "stripe", standing, await stripe.reversals(intent_id))


async def of_polar(pool: Pool, polar: Orders, told: Told) -> str | None:
    match told.type.split("."):
        case ["order", *_]:
            order_id = text(told.subject, "id")
        case ["refund", *_]:
            order_id = text(told.subject, "order_id")
        case ["subscription", *_]:
            found = await polar.subscription(text(told.subject, "id"))
            return await subscriptions.settle(pool, polar, found)
        case _:
            return UNUSED
    standing = await polar.order_standing(order_id)
    return await booking.settle(pool, "polar", standing, await polar.order_reversals(order_id))


def text(told: Mapping[str, Any], name: str) -> str:
    found = told.get(name)
    if not isinstance(found, str) or not found:
        raise ProcessorRefused(f"the event names no {name}")
    return found
