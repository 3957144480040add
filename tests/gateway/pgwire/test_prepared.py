"""What a pooled client is told of its prepared statements is what PostgreSQL would have told it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from gateway.pgwire import messages
from gateway.pgwire.wire import Wire
from tests.gateway.pgwire.conftest import Stage, raw

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def say(wire: Wire, *said: bytes) -> list[bytes]:
    """What is answered up to the next ReadyForQuery: each message's kind, or an error's SQLSTATE."""
    wire.write(b"".join(said))
    found: list[bytes] = []
    async with asyncio.timeout(30):
        while found[-1:] != [b"Z"]:
            kind, body = await wire.message()
            found.append(messages.sqlstate(body).encode() if kind == b"E" else kind)
    return found


def parse(name: bytes, text: bytes) -> bytes:
    return messages.message(b"P", name + b"\0" + text + b"\0\0\0")


def run(name: bytes) -> bytes:
    return messages.message(b"B", b"\0" + name + b"\0" + bytes(6)) + messages.message(b"E", bytes(5))


SYNC = messages.message(b"S")


async def directly(stage: Stage) -> Wire:
    """At a server of its own: what PostgreSQL itself says."""
    return await raw(stage, pooled=False)


Opened: TypeAlias = Callable[[Stage], Awaitable[Wire]]


@pytest.mark.parametrize("opened", [raw, directly])
async def test_nothing_is_prepared_in_a_transaction_that_failed(narrow: Stage, opened: Opened) -> None:
    other, wire = await raw(narrow), await opened(narrow)
    # The server has both already, by another client.
    assert await say(other, parse(b"theirs", b"SELECT 51"), SYNC) == [b"1", b"Z"]
    assert await say(other, parse(b"end", b"ROLLBACK"), SYNC) == [b"1", b"Z"]
    fail = messages.query(["BEGIN; SELECT 1 / 0"])
    assert (await say(wire, fail))[-2:] == [b"22012", b"Z"]
    assert await say(wire, parse(b"own", b"SELECT 51"), SYNC) == [b"25P02", b"Z"]
    assert await say(wire, parse(b"end", b"ROLLBACK"), run(b"end"), SYNC) == [b"1", b"2", b"C", b"Z"]
    # It was not prepared, so that it is not there.
    assert await say(wire, run(b"own"), SYNC) == [b"26000", b"Z"]
    assert await say(wire, parse(b"own", b"SELECT 51"), run(b"own"), SYNC) == [b"1", b"2", b"D", b"C", b"Z"]
    assert await say(other, run(b"theirs"), SYNC) == [b"2", b"D", b"C", b"Z"]
    for one in (wire, other):
        one.transport.abort()


@pytest.mark.parametrize("opened", [raw, directly])
async def test_nor_where_the_client_does_not_wait_to_hear_that_it_failed(
    narrow: Stage, opened: Opened
) -> None:
    other, wire = await raw(narrow), await opened(narrow)
    assert await say(other, parse(b"theirs", b"SELECT 52"), SYNC) == [b"1", b"Z"]
    assert (await say(wire, messages.query(["BEGIN"])))[-1:] == [b"Z"]
    pipeline = parse(b"", b"SELECT 1 / 0"), run(b""), SYNC, parse(b"own", b"SELECT 52"), SYNC
    assert await say(wire, *pipeline) == [b"1", b"22012", b"Z"]
    assert await say(wire) == [b"25P02", b"Z"]
    # What is sent behind an error is passed over with it.
    assert await say(wire, parse(b"", b"SELEKT"), parse(b"own", b"SELECT 52"), SYNC) == [b"42601", b"Z"]
    assert (await say(wire, messages.query(["ROLLBACK"])))[-1:] == [b"Z"]
    assert await say(wire, run(b"own"), SYNC) == [b"26000", b"Z"]
    for one in (wire, other):
        one.transport.abort()


@pytest.mark.parametrize("opened", [raw, directly])
@pytest.mark.parametrize("length", [0, 100_000])
async def test_an_unnamed_statement_ends_with_a_simple_query(
    narrow: Stage, opened: Opened, length: int
) -> None:
    wire = await opened(narrow)
    text = b"SELECT 53 -- " + b"x" * length
    assert await say(wire, parse(b"", text), SYNC) == [b"1", b"Z"]
    if opened is directly or not length:
        # Too long to be kept, it is where it was sent; the others are wherever their client is.
        assert await say(wire, run(b""), SYNC) == [b"2", b"D", b"C", b"Z"]
    assert (await say(wire, messages.query(["SELECT 1"])))[-1:] == [b"Z"]
    assert await say(wire, run(b""), SYNC) == [b"26000", b"Z"]
    assert await say(wire, parse(b"", text), run(b""), SYNC) == [b"1", b"2", b"D", b"C", b"Z"]
    wire.transport.abort()


@pytest.mark.parametrize("length", [0, 100_000])
async def test_nobody_runs_what_another_left_unnamed(narrow: Stage, length: int) -> None:
    one, other = await raw(narrow), await raw(narrow)
    assert await say(one, parse(b"", b"SELECT 54 -- " + b"x" * length), SYNC) == [b"1", b"Z"]
    assert await say(other, run(b""), SYNC) == [b"26000", b"Z"]
    assert await say(other, parse(b"", b"SELECT 55"), run(b""), SYNC) == [b"1", b"2", b"D", b"C", b"Z"]
    for wire in (one, other):
        wire.transport.abort()
