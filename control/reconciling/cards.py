"""Payments by card against whoever took them: what is paid there is booked here, and the other way round."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

from control.processors.port import Checkouts, ProcessorRefused, Processors, ProcessorUnavailable, Standing
from control.reconciling.checks import SHOWN_MAX, Difference, Result
from gateway.kit.sql import Pool, Statements

SQL = Statements(__file__)

# What was paid a moment ago is booked a moment later: what differs is looked at once more after this long.
SECOND_LOOK_SECONDS = 20
# Between our clock and theirs.
CLOCKS = timedelta(hours=1)

Ask = Callable[[str], Awaitable[Standing]]


async def compare(pool: Pool, processors: Processors, lately: timedelta) -> AsyncIterator[Result]:
    """A result for each processor that the settings name. Without a key there is nobody to ask."""
    since = datetime.now(UTC) - lately
    if (stripe := processors.stripe) is not None:
        yield await looked(pool, stripe, stripe.intent_standing, since)
    if (polar := processors.polar) is not None:
        yield await looked(pool, polar, polar.order_standing, since)


async def looked(pool: Pool, processor: Checkouts, ask: Ask, since: datetime) -> Result:
    meaning = f"what {processor.provider.title()} took lately is what was booked"
    try:
        found = await differences(pool, processor, ask, since)
        if found:
            await asyncio.sleep(SECOND_LOOK_SECONDS)
            found = await differences(pool, processor, ask, since)
    except ProcessorUnavailable as error:
        return Result(processor.provider, meaning, obstacle=str(error))
    return Result(processor.provider, meaning, tuple(found[:SHOWN_MAX]))


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


async def asked(ask: Ask, intent_id: str) -> Standing | None:
    try:
        return await ask(intent_id)
    except ProcessorRefused:
        # They know no such payment.
        return None


def cents(amount: int | None) -> str:
    return "nothing" if amount is None else f"{amount} cents"
