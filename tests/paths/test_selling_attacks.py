"""Attacks on a publisher's database that get past whoever looks at a statement first, and how they end."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from prometheus_client import REGISTRY

from config.settings import Queries as Limits
from config.settings import Upstream
from gateway.kit import dsn, ids
from gateway.kit.problem import Refusal
from gateway.kit.ssrf import Guard
from gateway.kit.tasks import Crew
from gateway.options import Question
from gateway.upstreams.postgres import Queries
from tests.paths.selling import Seller
from tests.paths.selling import seller as seller
from tests.paths.selling import shop_server as shop_server
from tests.waiting import until


@pytest.fixture
async def queries() -> AsyncIterator[Queries]:
    made = Queries(Guard(is_private_allowed=True), Upstream(), Limits(seconds_max=1, at_once_per_publisher=2))
    yield made
    assert made.under_way == {}
    await made.close()


async def run(
    queries: Queries, seller: Seller, statement: str, user: str = "shop_reader", rows_max: int = 10
) -> Any:
    asked = Question(statement, (), rows_max, "ndjson")
    async with queries.ask(ids.new(), dsn.read(seller.dsn(user)), asked) as answer:
        return b"".join([chunk async for chunk in answer.chunks])


ENDED: dict[str, str] = {
    "COPY items TO STDOUT": "invalid-request",
    "DO $$ BEGIN PERFORM pg_sleep(9); END $$": "invalid-request",
    "SELECT 1; SELECT 2": "query-failed",
    "COMMIT": "invalid-request",
    "ROLLBACK; SELECT 1": "query-failed",
    "SET ROLE postgres": "invalid-request",
    "INSERT INTO items VALUES (0, 'x') RETURNING 1": "query-failed",
    "WITH a AS (DELETE FROM items RETURNING *) SELECT * FROM a": "query-failed",
    "SELECT * FROM items FOR UPDATE": "query-failed",
    "SELECT set_config('transaction_read_only', 'off', false)": "query-failed",
    "SELECT set_config('track_activities', 'on', false)": "query-failed",
    "SELECT set_config('role', 'postgres', false)": "query-failed",
    "SELECT query_to_xml('DELETE FROM items', true, true, '')": "query-failed",
    "SELECT rolpassword FROM pg_authid": "query-failed",
    "SELECT pg_read_file('/etc/passwd')": "query-failed",
    "SELECT lo_import('/etc/passwd')": "query-failed",
    "SELECT pg_ls_dir('/')": "query-failed",
    "SELECT nextval('pg_catalog.x')": "query-failed",
    "SELECT pg_sleep(30)": "query-failed",
    "SELECT set_config('statement_timeout', '0', false), pg_sleep(30)": "query-failed",
    "SELECT count(*) FROM items a, items b, items c": "query-failed",
    "SELECT * FROM endless()": "query-failed",
    "SELECT n FROM generate_series(1, 1000000000) AS n ORDER BY n DESC": "query-failed",
    "SELECT repeat('x', 20000000)": "result-too-large",
    "SELECT repeat('x', 300000) FROM items": "result-too-large",
    "SELECT word::int FROM secrets": "query-failed",
}


@pytest.mark.parametrize(("statement", "slug"), ENDED.items())
async def test_an_attack_ends_in_a_refusal(
    queries: Queries, seller: Seller, statement: str, slug: str
) -> None:
    with pytest.raises(Refusal) as refused:
        # Some would take half a minute, and others for ever.
        async with asyncio.timeout(25):
            await run(queries, seller, statement)
    assert refused.value.slug == slug, refused.value
    assert "xyzzy" not in str(refused.value)
    assert await seller.admin.fetchval("SELECT count(*) FROM items") == 5000


async def test_the_loop_goes_on_beside_a_huge_value(queries: Queries, seller: Seller) -> None:
    # What this thread computes at a stretch: how long it waits for its turn is the machine's.
    longest, before = 0.0, time.thread_time()
    asking = asyncio.gather(run(queries, seller, "SELECT repeat('x', 900000000)"), return_exceptions=True)
    while not asking.done():
        await asyncio.sleep(0.005)
        longest, before = max(longest, time.thread_time() - before), time.thread_time()
    (refused,) = await asking
    assert isinstance(refused, Refusal), refused
    assert longest < 1


async def test_nothing_of_a_session_is_left_to_the_next(queries: Queries, seller: Seller) -> None:
    await run(queries, seller, "SELECT set_config('statement_timeout', '0', false), pg_advisory_lock(7)")
    assert await run(
        queries, seller, "SELECT pg_try_advisory_lock(7) AS l, current_setting('statement_timeout') AS t"
    )
    assert b'"t":"1s"' in await run(queries, seller, "SELECT current_setting('statement_timeout') AS t")


async def test_callers_do_not_see_each_others_statements(queries: Queries, seller: Seller) -> None:
    other = asyncio.gather(run(queries, seller, "SELECT pg_sleep(0.8), 'hush'"), return_exceptions=True)
    await asyncio.sleep(0.3)
    assert b"hush" not in await run(queries, seller, "SELECT query FROM pg_stat_activity", rows_max=1000)
    await other


@pytest.mark.parametrize("user", ["watched", "powerful", "postgres"])
async def test_an_unsafe_role_is_not_asked(queries: Queries, seller: Seller, user: str) -> None:
    await seller.admin.execute("ALTER ROLE postgres PASSWORD 'p@ss/word'")
    with pytest.raises(Refusal) as refused:
        await run(queries, seller, "SELECT 1", user)
    assert refused.value.slug == "database-unsafe"


async def test_a_wrong_password_tells_nothing(queries: Queries, seller: Seller) -> None:
    where = dsn.read(seller.dsn(password="wrong"))
    with pytest.raises(Refusal) as refused:
        async with queries.ask(ids.new(), where, Question("SELECT 1", (), 1)):
            pass
    assert refused.value.slug == "upstream-unreachable"
    assert "shop_reader" not in str(refused.value)


def counted(outcome: str) -> tuple[float, ...]:
    said = REGISTRY.get_sample_value
    return (
        said("farebox_queries_total", {"kind": "sold", "outcome": outcome}) or 0,
        said("farebox_query_rows_total") or 0,
        said("farebox_query_bytes_total") or 0,
    )


@pytest.mark.parametrize(
    ("statement", "outcome", "row_count", "byte_count"),
    [
        ("SELECT 1 AS n FROM items", "answered", 10, 80),
        ("SELECT pg_sleep(30)", "stopped", 0, 0),
        ("SELECT repeat('x', 20000000)", "stopped", 0, 0),
        ("SELECT word FROM secrets", "refused", 0, 0),
    ],
)
async def test_what_becomes_of_statements_is_counted(
    queries: Queries, seller: Seller, statement: str, outcome: str, row_count: int, byte_count: int
) -> None:
    before = counted(outcome)
    with suppress(Refusal):
        await run(queries, seller, statement)
    made = tuple(now - then for now, then in zip(counted(outcome), before, strict=True))
    assert made == (1, row_count, byte_count)


async def test_whoever_leaves_stops_the_statement(seller: Seller) -> None:
    crew = Crew()
    # The server's own limit is later than that it is stopped, however busy the machine is.
    queries = Queries(Guard(is_private_allowed=True), Upstream(), Limits(seconds_max=120))
    cancel = crew.start(run(queries, seller, "SELECT count(*) FROM items a, items b, items c"))
    await asyncio.sleep(0.3)
    left = counted("left")[0]
    cancel()
    await crew.close()
    assert counted("left")[0] == left + 1

    async def is_gone() -> bool:
        running = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop_reader'"
        return bool(await seller.admin.fetchval(running) == 0)

    await until(is_gone)
    await queries.close()


async def test_no_more_run_at_once_than_may(queries: Queries, seller: Seller) -> None:
    publisher_id, where = ids.new(), dsn.read(seller.dsn())

    async def ask() -> str:
        try:
            async with queries.ask(publisher_id, where, Question("SELECT pg_sleep(0.5)", (), 1)):
                return "served"
        except Refusal as refusal:
            return refusal.slug

    assert sorted(await asyncio.gather(*[ask() for _ in range(5)])) == ["database-busy"] * 3 + ["served"] * 2


async def test_the_guard_looks_at_the_connected_address(seller: Seller) -> None:
    strict = Queries(Guard(is_private_allowed=False), Upstream(), Limits())
    with pytest.raises(Refusal) as refused:
        async with strict.ask(ids.new(), dsn.read(seller.dsn()), Question("SELECT 1", (), 1)):
            pass
    assert refused.value.slug == "upstream-unreachable"
    await strict.close()
