"""Servers that only say that they are PostgreSQL: their publishers may let them say anything."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from config.settings import Queries as Limits
from config.settings import Upstream
from gateway.kit import dsn, ids
from gateway.kit.problem import Refusal
from gateway.kit.ssrf import Guard
from gateway.options import Question
from gateway.upstreams.postgres import Queries
from gateway.upstreams.postgres_plans import rows_of
from tests.paths.conftest import DOLLAR, Farebox
from tests.paths.selling import Seller
from tests.paths.selling import seller as seller
from tests.paths.selling import shop_server as shop_server

STATEMENT = """
    SELECT id, name, ARRAY[name, NULL] AS names, '{"a": 1}'::jsonb AS doc, now() AS at,
        '\\x00ff'::bytea AS raw, ARRAY[[1, 2], [3, 4]] AS grid
    FROM items WHERE id > $1"""
TRIES = 150
TELLING = (0, 1, 34, 92, 123, 125, 127, 255)
NO_LIE: "Lie" = (-1, None)


Lie = tuple[int, bytes | None]
"""From which byte on, and what instead: nothing for the end of the connection."""


def lies(count: int, seed: int) -> Iterator[Lie]:
    chance = random.Random(seed)
    for number in range(count):
        at = int(2 ** chance.uniform(0, 18))
        yield at, (None, chance.randbytes(200), bytes([chance.choice(TELLING)]))[number % 3]


@asynccontextmanager
async def lying(seller: Seller, lie: Lie) -> AsyncIterator[Seller]:
    """What the server says, but for that."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", seller.port)
        with suppress(OSError):
            await asyncio.gather(piped(reader, ours), piped(theirs, writer, lie))

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield replace(seller, port=listening.sockets[0].getsockname()[1])
    finally:
        listening.close()


async def piped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lie: Lie = NO_LIE) -> None:
    at, instead = lie
    try:
        while data := await reader.read(1 << 16):
            if 0 <= at < len(data):
                writer.write(data[:at] + (instead or b""))
                if instead is None:
                    return
                data, at = data[at + len(instead) :], -1
            at = max(at - len(data), -1)
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def test_whatever_a_server_says_ends_in_rows_or_a_refusal(seller: Seller) -> None:
    queries = Queries(
        Guard(is_private_allowed=True), Upstream(connect_timeout_seconds=1), Limits(seconds_max=1)
    )
    came_to = {"served": 0, "refused": 0, "broken": 0, "otherwise": 0}
    gate = asyncio.Semaphore(20)

    async def once(lie: Lie) -> None:
        async with gate, lying(seller, lie) as behind:
            where = dsn.read(behind.dsn())
            question = Question(STATEMENT, (0,), 3000)
            try:
                async with queries.ask(ids.new(), where, question) as answer:
                    async for _ in answer.chunks:
                        pass
                came_to["served"] += 1
            except Refusal as refusal:
                came_to["refused" if refusal.status in (400, 502) else "otherwise"] += 1
            except ConnectionError:
                came_to["broken"] += 1

    async with asyncio.timeout(60):
        await asyncio.gather(*[once(lie) for lie in lies(TRIES, 1)])
    assert came_to["otherwise"] == 0
    assert min(came_to["served"], came_to["refused"]) > TRIES // 20, came_to
    assert queries.under_way == {}
    await queries.close()


@pytest.mark.parametrize(
    "said", [b"", b"{}", b'{"rows":[]}', b'{"rows":[{"QUERY PLAN":[]}]}', b'{"rows":[{"QUERY PLAN":1}]}',
             b'{"rows":[{"QUERY PLAN":[{"Plan":{"Plan Rows":-1}}]}]}', b"\xff"],
)  # fmt: skip
def test_a_plan_that_is_none_is_a_lost_answer(said: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        rows_of(said)
    assert refused.value.slug == "query-lost"


async def test_a_liar_is_published_and_sells_nothing(farebox: Farebox, seller: Seller) -> None:
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    for at in (1, 20, 300, 420, 470):
        async with lying(seller, (at, b"\xff" * 500)) as behind:
            name = f"liar-{at}"
            shop = await behind.sell(farebox, slug=name, name=name)
            found = await farebox.agent.ask("GET", shop)
            assert found.status == 200
            body = {"publisher_id": found.json["data"]["id"], "query": "SELECT id FROM items LIMIT 3"}
            said = [await farebox.agent.ask("POST", f"{shop}/estimate", body=body)]
            body = {"query": "SELECT id FROM items LIMIT 3"}
            said.append(await farebox.agent.ask("POST", shop, headers=account.headers, body=body))
            assert {one.status for one in said} <= {200, 400, 502, 503}, [one.text for one in said]
    assert await farebox.is_sound()
