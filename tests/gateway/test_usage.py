"""Usage rows of calls that moved no money: gathered by what is said of them, written together."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import usage as rows
from gateway.ledger.usage import Usage
from gateway.metering import usage
from gateway.metering.usage import Recorder
from tests.gateway.conftest import USDC, Ledger, Seller, ledger, seller

__all__ = ["ledger", "seller"]

WRITTEN = """
SELECT call_id, publisher_id, organization_id, payer, rail, method, path, outcome, status, asset_id, cost
FROM usage_events
"""


def free(seller: Seller, **other: Any) -> Usage:
    event = Usage(ids.new(), seller.publisher_id, None, None, "free", "GET", "/x", "free", 200)
    return replace(event, **other)


async def written(pool: Pool) -> dict[UUID, Usage]:
    return {row["call_id"]: Usage(**row) for row in await pool.fetch(WRITTEN)}


async def test_each_call_has_a_row_that_says_what_it_was(pool: Pool, ledger: Ledger, seller: Seller) -> None:
    organization_id = await ledger.organization()
    recorder = Recorder(pool)
    events = [
        event
        for _ in range(3)
        for event in (
            free(seller),
            free(seller, organization_id=organization_id, status=204),
            free(seller, payer="0x" + "a" * 40, rail="x402", outcome="settlement_failed", asset_id=USDC.id),
            free(seller, method="POST", path='/{a,"b"}\\,NULL', outcome="abandoned", status=None),
            free(seller, path="/é%2C"),
        )
    ]
    for event in events:
        recorder.add(event)
    # Sent again, as after an answer of the database that was lost.
    recorder.add(events[0])
    await recorder.flush()
    assert await written(pool) == {event.call_id: event for event in events}
    assert recorder.size == 0


async def test_what_could_not_be_written_is_written_later(
    pool: Pool, seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(pool)
    first, meanwhile, alone, later = free(seller), free(seller), free(seller, path="/y"), free(seller)

    async def away(*_: object) -> None:
        # Others go on while the database is asked.
        recorder.add(meanwhile)
        recorder.add(alone)
        raise asyncpg.InterfaceError("away")

    recorder.add(first)
    with monkeypatch.context() as broken:
        broken.setattr(rows, "record_alike", away)
        await recorder.flush()
    assert recorder.size == 3
    recorder.add(later)
    await recorder.flush()
    assert set(await written(pool)) == {one.call_id for one in (first, meanwhile, alone, later)}
    assert recorder.size == 0


async def test_what_was_being_written_at_the_end_is_written(
    pool: Pool, seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "FLUSH_SECONDS", 0)
    recorder, asked = Recorder(pool), asyncio.Event()

    async def silent(*_: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    event = free(seller)
    recorder.add(event)
    with monkeypatch.context() as broken:
        broken.setattr(rows, "record_alike", silent)
        recorder.start()
        await asked.wait()
    await recorder.close()
    assert set(await written(pool)) == {event.call_id}


async def test_a_database_that_stays_away_does_not_fill_the_memory(
    pool: Pool, seller: Seller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "BUFFERED_MAX", 3)
    recorder = Recorder(pool)
    events = [free(seller) for _ in range(5)]
    for event in events:
        recorder.add(event)
    await recorder.flush()
    assert set(await written(pool)) == {event.call_id for event in events[:3]}
    recorder.add(events[4])
    await recorder.flush()
    assert len(await written(pool)) == 4
