"""Whoever waits for the same transaction waits together, and the chain is asked for as little as will do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, cast

import pytest

from gateway.x402 import mined, token
from gateway.x402.chain import Chain
from gateway.x402.facilitator import FacilitatorUnavailable
from gateway.x402.mined import Mined
from gateway.x402.questions import Request
from gateway.x402.token import Proofs

HASH, OTHER = "0x" + "aa" * 32, "0x" + "bb" * 32
Begin = Callable[..., Awaitable[Sequence[asyncio.Task[Proofs | None]]]]

TOKEN, PAYER, PAY_TO = "0x" + "a5" * 20, "0x" + "c0" * 20, "0x" + "b0" * 20


class Growing:
    """A chain that grows when a test says so."""

    def __init__(self) -> None:
        self.height = 7
        self.blocks: dict[str, int] = {}
        self.asked: list[list[str]] = []
        """The transactions that each request is about."""
        self.is_away = False
        self.heard = asyncio.Event()

    async def ask_each(self, *requests: Request) -> list[Any]:
        self.asked.append([params[0] for _, params in requests[1:]])
        self.heard.set()
        if self.is_away:
            raise FacilitatorUnavailable("the node does not answer")
        return [hex(self.height), *map(self.receipt, self.asked[-1])]

    def receipt(self, name: str) -> dict[str, Any] | None:
        if name not in self.blocks:
            return None
        topics = [token.TRANSFERRED, "0x" + token.word(PAYER).hex(), "0x" + token.word(PAY_TO).hex()]
        log = {"address": TOKEN, "topics": topics, "data": hex(5)}
        return {"status": "0x1", "blockNumber": hex(self.blocks[name]), "logs": [log]}

    def mine(self, *names: str) -> None:
        self.height += 1
        self.blocks |= dict.fromkeys(names, self.height)


@pytest.fixture
def chain() -> Growing:
    return Growing()


@pytest.fixture
async def seen(chain: Growing) -> AsyncIterator[Mined]:
    made = Mined(cast(Chain, chain))
    yield made
    await made.close()


@pytest.fixture
async def crowd(seen: Mined, chain: Growing) -> AsyncIterator[Begin]:
    """Everybody waits, and has been asked for once."""
    async with asyncio.TaskGroup() as group, asyncio.timeout(10):

        async def begin(*names: str, depth: int = 1) -> Sequence[asyncio.Task[Proofs | None]]:
            chain.heard.clear()
            waiting = [group.create_task(seen.proofs([name], depth, 5)) for name in names]
            await chain.heard.wait()
            return waiting

        yield begin


async def test_a_transactions_payments_ask_for_it_once_and_each_has_what_it_proves(
    chain: Growing, seen: Mined, crowd: Begin
) -> None:
    waiting = await crowd(*[HASH] * 20)
    chain.mine(HASH)
    found = await asyncio.gather(*waiting)
    assert found[0] is not None
    assert found[0].are_of(TOKEN, PAYER, PAY_TO, 5)
    assert all(one is found[0] for one in found)
    assert all(names == [HASH] for names in chain.asked)
    assert not seen.awaited


async def test_who_goes_away_takes_nothing_from_the_others(chain: Growing, seen: Mined, crowd: Begin) -> None:
    leaving, staying = await crowd(HASH, HASH)
    leaving.cancel()
    await asyncio.sleep(0)
    chain.mine(HASH)
    assert await staying is not None
    assert leaving.cancelled()


async def test_who_has_waited_long_enough_is_told_of_nothing(
    chain: Growing, seen: Mined, crowd: Begin
) -> None:
    [patient] = await crowd(HASH)
    assert await seen.proofs([HASH], 1, 0.02) is None
    chain.mine(HASH)
    assert await patient is not None


async def test_depths_are_waited_for_by_those_who_need_them(
    chain: Growing, seen: Mined, crowd: Begin
) -> None:
    [shallow] = await crowd(HASH)
    [deep] = await crowd(HASH, depth=3)
    chain.mine(HASH)
    assert await shallow is not None
    chain.mine()
    assert not deep.done()
    chain.mine()
    assert await deep is not None


async def test_many_are_asked_for_only_when_the_chain_has_grown(
    chain: Growing, seen: Mined, crowd: Begin
) -> None:
    many = [f"0x{place:064x}" for place in range(mined.FEW + 1)]
    waiting = await crowd(*many)
    chain.asked.clear()
    [one] = await crowd(OTHER)
    assert chain.asked[0] == [OTHER]
    chain.mine(*many, OTHER)
    assert all(await asyncio.gather(*waiting, one))
    assert sorted(chain.asked[-1]) == sorted([*many, OTHER])


async def test_a_fast_chain_is_looked_at_more_often_from_then_on(
    chain: Growing, seen: Mined, crowd: Begin
) -> None:
    assert seen.pause_seconds == mined.PAUSE_SECONDS
    for name in (HASH, OTHER):
        waiting = await crowd(name)
        chain.mine(name)
        await asyncio.gather(*waiting)
    assert seen.pause_seconds < mined.PAUSE_SECONDS


async def test_a_node_that_was_away_is_asked_again(chain: Growing, seen: Mined, crowd: Begin) -> None:
    chain.is_away = True
    waiting = await crowd(HASH)
    chain.is_away = False
    chain.mine(HASH)
    assert await waiting[0] is not None
