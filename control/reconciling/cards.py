"""Payments by card against whoever took them: what is paid there is booked here, and the other way round."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from control.processors.port import (
    Cards,
    Checkouts,
    ProcessorRefused,
    Processors,
    ProcessorUnavailable,
    Reversal,
    Standing,
)
from control.reconciling.checks import SHOWN_MAX, Difference, Result
from gateway.kit.sql import Pool, Statements

SQL = Statements(__file__)

# What was paid a moment ago is booked a moment later: what differs is looked at once more after this long.
SECOND_LOOK_SECONDS = 20
# Between our clock and theirs.
CLOCKS = timedelta(hours=1)

STANDS = {True: "taken back", False: "nothing"}

Ask = Callable[[str], Awaitable[Standing]]
Look = Callable[[], Awaitable[list[Difference]]]


async def compare(pool: Pool, processors: Processors, lately: timedelta) -> AsyncIterator[Result]:
    """A result for each processor that the settings name. Without a key there is nobody to ask."""
    since = datetime.now(UTC) - lately
    if (stripe := processors.stripe) is not None:
        yield await looked(pool, stripe, stripe.intent_standing, since)
        yield await looked_back(stripe, partial(taken_back, pool, stripe, since))
    if (polar := processors.polar) is not None:
        yield await looked(pool, polar, polar.order_standing, since)


async def looked(pool: Pool, processor: Checkouts, ask: Ask, since: datetime) -> Result:
    meaning = f"what {processor.provider.title()} took lately is what was booked"
    return await twice(processor.provider, meaning, partial(differences, pool, processor, ask, since))


async def looked_back(processor: Checkouts, look: Look) -> Result:
    meaning = f"what {processor.provider.title()} gave back or lost lately is what was taken back here"
    return await twice(f"{processor.provider} reversals", meaning, look)


async def twice(name: str, meaning: str, look: Look) -> Result:
    try:
        if found := await look():
            await asyncio.sleep(SECOND_LOOK_SECONDS)
            found = await look()
    except ProcessorUnavailable as error:
        return Result(name, meaning, obstacle=str(error))
    return Result(name, meaning, tuple(found[:SHOWN_MAX]))


async def differences(pool: Pool, processor: Checkouts, ask: Ask, since: datetime) -> list[Difference]:
    taken = {str(one.intent_id): one.amount_cents for one in await processor.taken_since(since - CLOCKS)}
    rows = await pool.fetch(SQL.lately, processor.provider, processor.mode, since)
    for intent_id in [row["intent_id"] for row in rows if row["intent_id"] not in taken]:
        # Begun before, and perhaps paid since.
        if (standing := await asked(ask, intent_id)) is not None and standing.state == "paid":
            taken[intent_id] = standing.amount_cents
    booked = {row["intent_id"]: row["amount_cents"] for row in rows if row["state"] == "paid"}
    # Asked for last, so that what is paid meanwhile is no difference.
    for row in await pool.fetch(SQL.booked, processor.provider, list(taken)):
        booked[row["intent_id"]] = row["amount_cents"]
    return [
        Difference(f"{processor.provider} payment {one}", cents(taken.get(one)), cents(booked.get(one)))
        for one in sorted(taken.keys() | booked.keys())
        if taken.get(one) != booked.get(one)
    ]


async def taken_back(pool: Pool, cards: Cards, since: datetime) -> list[Difference]:
    """Refunds and disputes that stand there and not here, or here and not there."""
    told = [
        (intent, one.id) for intent, one in await cards.taken_back_since(since - CLOCKS) if one.is_standing
    ]
    ours = await pool.fetch(SQL.standing, cards.provider, cards.mode, since)
    # What is not in their list was made there earlier, or stands no more.
    for intent_id in sorted({row["intent_id"] for row in ours} - {intent for intent, _ in told}):
        told += [(intent_id, one.id) for one in await asked_back(cards, intent_id) if one.is_standing]
    # Asked for last, so that what is taken back meanwhile is no difference. Other products' are none of ours.
    ids, intents = [one for _, one in told], [intent for intent, _ in told]
    booked = {row["intent_id"] for row in await pool.fetch(SQL.booked, cards.provider, intents)}
    expected = {one for intent, one in told if intent in booked}
    found = {row["provider_id"] for row in ours}
    found |= {row["provider_id"] for row in await pool.fetch(SQL.taken_back, cards.provider, ids)}
    return [
        Difference(f"{cards.provider} reversal {one}", STANDS[one in expected], STANDS[one in found])
        for one in sorted(expected ^ found)
    ]


async def asked_back(cards: Cards, intent_id: str) -> list[Reversal]:
    try:
        return await cards.reversals(intent_id)
    except ProcessorRefused:
        return []


async def asked(ask: Ask, intent_id: str) -> Standing | None:
    try:
        return await ask(intent_id)
    except ProcessorRefused:
        # They know no such payment.
        return None


def cents(amount: int | None) -> str:
    return "nothing" if amount is None else f"{amount} cents"
