"""Clients that share servers, and do not notice."""

import asyncio
import io
from typing import Any

import asyncpg
import psycopg
import pytest

from gateway.pgwire import messages, statements
from gateway.pgwire.pooled import PooledClient
from gateway.pgwire.pooled_server import PooledServer
from tests.gateway.pgwire.conftest import Stage, raw

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_many_clients_share_one_server(narrow: Stage) -> None:
    clients = [await narrow.connect(pooled=True) for _ in range(20)]
    pids = await asyncio.gather(*(one.fetchval("SELECT pg_backend_pid()") for one in clients))
    assert len(set(pids)) == 1
    # Statements that one prepared, the others have too, and each by its own names.
    answers = await asyncio.gather(*(one.fetchval("SELECT $1::int * 2", n) for n, one in enumerate(clients)))
    assert answers == [2 * n for n in range(20)]
    async with clients[0].transaction():
        await clients[0].execute("SELECT 1")
        with pytest.raises(asyncpg.ConnectionDoesNotExistError, match="became free in time"):
            await clients[1].fetchval("SELECT 1")
    assert await clients[2].fetchval("SELECT 3") == 3
    for one in clients:
        await one.close()


async def test_what_pools_hold_on_to_keeps_nobody_out(stage: Stage) -> None:
    """The server takes 50, of which two pools have 20 each that nobody uses."""
    for path in ("public", "pg_catalog", "public,pg_catalog"):
        more = {"server_settings": {"search_path": path}}
        clients = await asyncio.gather(*(stage.connect(pooled=True, **more) for _ in range(20)))
        await asyncio.gather(*(one.execute("BEGIN") for one in clients))
        for one in clients:
            await one.execute("ROLLBACK")
            await one.close()
    clients = await asyncio.gather(*(stage.connect() for _ in range(40)))
    assert await clients[-1].fetchval("SELECT 1") == 1
    # Now it is full of what is used.
    more_of_them = await asyncio.gather(*(stage.connect() for _ in range(10)), return_exceptions=True)
    refused = [one for one in more_of_them if isinstance(one, asyncpg.TooManyConnectionsError)]
    clients += [one for one in more_of_them if one not in refused]
    assert refused
    for one in clients:
        await one.close()


async def test_each_client_has_its_own_parameters(narrow: Stage) -> None:
    one = await narrow.connect(pooled=True, server_settings={"application_name": "one"})
    other = await narrow.connect(pooled=True, server_settings={"application_name": "o'ther\\"})
    await one.execute("SET timezone = 'Europe/Oslo'; SET search_path = one, public")
    for _ in range(2):
        assert await one.fetchval("SHOW application_name") == "one"
        assert await other.fetchval("SHOW application_name") == "o'ther\\"
        assert await one.fetchval("SHOW timezone") == "Europe/Oslo"
        assert await other.fetchval("SHOW timezone") == "UTC"
        assert await one.fetchval("SHOW search_path") == "one, public"
    await one.close()
    await other.close()


async def test_clients_survive_that_their_database_sleeps(narrow: Stage) -> None:
    client = await narrow.connect(pooled=True)
    statement = await client.prepare("SELECT $1::text")
    assert await statement.fetchval("before") == "before"
    await narrow.sleep()
    assert await statement.fetchval("after") == "after"
    await client.close()


async def test_an_error_in_a_batch_leaves_nothing_behind(narrow: Stage) -> None:
    client = await narrow.connect(pooled=True)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await client.fetchval("SELECT 1 / $1::int", 0)
    assert await client.fetchval("SELECT 1 / $1::int", 1) == 1
    with pytest.raises(asyncpg.PostgresSyntaxError):
        await client.fetchval("SELEKT")
    with pytest.raises(asyncpg.InvalidSQLStatementNameError):
        await client.fetchval("EXECUTE nothing")
    await client.execute("DISCARD ALL")
    assert await client.fetchval("SELECT 7") == 7
    await client.close()


async def test_what_a_server_passed_over_it_is_not_taken_to_have(narrow: Stage) -> None:
    """What is prepared behind an error is not prepared, and is made for others who prepare it."""
    wire, other = await raw(narrow), await raw(narrow)
    bound = b"\0\0" + bytes(6)
    wire.write(
        messages.message(b"P", b"\0SELECT 1 / 0\0\0\0") + messages.message(b"B", bound)
        + messages.message(b"E", bytes(5)) + messages.message(b"H")
    )  # fmt: skip
    assert [(await wire.message())[0] for _ in range(2)] == [b"1", b"E"]
    wire.write(messages.message(b"P", b"behind\0SELECT 42\0\0\0") + messages.message(b"S"))
    assert (await wire.message())[0] == b"Z"
    other.write(messages.message(b"P", b"own\0SELECT 42\0\0\0") + messages.message(b"D", b"Sown\0"))
    other.write(messages.message(b"S"))
    async with asyncio.timeout(30):
        assert [(await other.message())[0] for _ in range(4)] == [b"1", b"t", b"T", b"Z"]
    for one in (wire, other):
        one.transport.abort()


async def test_a_long_message_is_not_read_again_with_each_piece_of_it(
    narrow: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would keep the process, and everybody else's connections, from anything else for seconds."""
    looked_at: list[int] = []
    read = PooledClient.read

    def counted(client: PooledClient, server: PooledServer, data: bytes, out: list[bytes]) -> int:
        looked_at.append(len(data))
        return read(client, server, data, out)

    monkeypatch.setattr(PooledClient, "read", counted)
    wire = await raw(narrow)
    text = b"SELECT 44 -- " + b"x" * (4 << 20)
    for name in (b"one", b"two"):
        wire.write(messages.message(b"P", name + b"\0" + text + b"\0\0\0") + messages.message(b"S"))
        async with asyncio.timeout(20):
            assert [(await wire.message())[0] for _ in range(2)] == [b"1", b"Z"]
    assert sum(looked_at) < 4 * len(text)
    wire.transport.abort()


async def test_clients_of_an_endpoint_keep_so_much_together(
    narrow: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory is that of a process for everybody: what one client may keep, a thousand may not."""
    monkeypatch.setattr(statements, "ENDPOINT_BYTES_MAX", 1 << 20)
    one, other = await raw(narrow), await raw(narrow)
    text = b"SELECT 46 -- " + b"x" * 700_000
    prepare = messages.message(b"P", b"own\0" + text + b"\0\0\0") + messages.message(b"S")
    one.write(prepare)
    async with asyncio.timeout(30):
        assert [(await one.message())[0] for _ in range(2)] == [b"1", b"Z"]
    # As soon as it is announced: it is not waited for.
    other.write(prepare[:1000])
    async with asyncio.timeout(30):
        kind, body = await other.message()
    assert (kind, messages.sqlstate(body)) == (b"E", "54000")
    one.transport.abort()
    (shelf,) = narrow.proxy.house.pools.shelves.values()
    async with asyncio.timeout(30):
        while shelf.size:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_nor_is_what_a_server_says(narrow: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []
    read = PooledServer.read

    def counted(server: PooledServer, data: bytes) -> bytes:
        looked_at.append(len(data))
        return read(server, data)

    monkeypatch.setattr(PooledServer, "read", counted)
    client = await narrow.connect(pooled=True)
    told: list[int] = []
    client.add_log_listener(lambda _, message: told.append(len(message.message)))
    await client.execute("DO $$ BEGIN RAISE NOTICE '%', repeat('x', 4000000); END $$")
    assert await client.fetchval("SELECT 45") == 45
    await client.close()
    assert told == [4_000_000]
    assert sum(looked_at) < 3 * 4_000_000


async def test_a_statement_that_sql_took_away_is_missing_once(narrow: Stage) -> None:
    one, other = [await narrow.connect(pooled=True, statement_cache_size=10) for _ in range(2)]
    assert await one.fetchval("SELECT 43") == 43
    for name in await one.fetch("SELECT name FROM pg_prepared_statements WHERE statement = 'SELECT 43'"):
        await one.execute(f"DEALLOCATE {name['name']}")
    with pytest.raises(asyncpg.InvalidSQLStatementNameError):
        await other.fetchval("SELECT 43")
    assert await other.fetchval("SELECT 43") == 43
    assert await one.fetchval("SELECT 43") == 43
    await one.close()
    await other.close()


async def test_copies_go_both_ways(narrow: Stage) -> None:
    client = await narrow.connect(pooled=True)
    await client.execute("CREATE TABLE IF NOT EXISTS copied (n int, t text)")
    rows = [(n, "x" * 100) for n in range(20_000)]
    await client.copy_records_to_table("copied", records=rows)
    assert await client.fetchval("SELECT count(*) FROM copied") == 20_000
    got: list[int] = []

    async def take(data: bytes) -> None:
        got.append(len(data))

    await client.copy_from_query("SELECT * FROM copied", output=take)
    assert sum(got) > 20_000 * 100
    with pytest.raises(asyncpg.PostgresError):
        await client.copy_to_table("copied", source=io.BytesIO(b"not a number\tx\n" * 100_000))
    assert await client.fetchval("SELECT 1") == 1
    await client.execute("DROP TABLE copied")
    await client.close()


def fail_in_a_pipeline(connection: psycopg.Connection[Any]) -> None:
    with connection.pipeline():
        connection.execute("SELECT 1 / %s::int", [0])
        connection.execute("SELECT 2")


async def test_a_copy_that_fails_under_its_data_leaves_its_client_heard(narrow: Stage) -> None:
    """The server is free as soon as it has said why, with more on the way to it than it takes at once."""
    client = await narrow.connect(pooled=True)
    await client.execute("CREATE TABLE IF NOT EXISTS failing (n int)")
    for _ in range(20):
        async with asyncio.timeout(20):
            with pytest.raises(asyncpg.PostgresError):
                await client.copy_to_table("failing", source=io.BytesIO(b"no\n" * 2_000_000))
            assert await client.fetchval("SELECT 1") == 1
    await client.close()


@pytest.mark.parametrize("prepare_threshold", [0, 5, None])
async def test_psycopg_prepares_pipelines_and_streams(narrow: Stage, prepare_threshold: int | None) -> None:
    def work() -> Any:
        dsn = narrow.by_name(pooled=True)
        with psycopg.connect(dsn, prepare_threshold=prepare_threshold, autocommit=True) as connection:
            for n in range(8):
                assert connection.execute("SELECT %s::int", [n]).fetchone() == (n,)
            with connection.pipeline():
                cursors = [connection.execute("SELECT %s::int", [n]) for n in range(50)]
            assert [cursor.fetchone() for cursor in cursors] == [(n,) for n in range(50)]
            with pytest.raises(psycopg.errors.DivisionByZero):
                fail_in_a_pipeline(connection)
            with connection.transaction(), connection.cursor("served") as cursor:
                cursor.execute("SELECT generate_series(1, 1000)")
                assert len(cursor.fetchall()) == 1000
            with connection.cursor().copy("COPY (SELECT generate_series(1, 1000)) TO STDOUT") as copy:
                assert len(list(copy.rows())) == 1000
            return connection.execute("SELECT 1").fetchone()

    assert await asyncio.to_thread(work) == (1,)


async def test_a_session_of_its_own_is_reset_for_the_next(narrow: Stage) -> None:
    narrow.change(pooler_mode="session")
    one = await narrow.connect(pooled=True)
    pid = await one.fetchval("SELECT pg_backend_pid()")
    await one.execute("CREATE TEMP TABLE mine (n int); SET statement_timeout = '7s'")
    assert await one.fetchval("SELECT count(*) FROM mine") == 0
    await one.close()
    other = await narrow.connect(pooled=True)
    assert await other.fetchval("SELECT pg_backend_pid()") == pid
    assert await other.fetchval("SHOW statement_timeout") == "0"
    assert await other.fetchval("SELECT to_regclass('mine')") is None
    await other.close()


async def test_an_open_transaction_ends_with_its_client(narrow: Stage) -> None:
    one = await narrow.connect(pooled=True)
    await one.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
    await one.execute("BEGIN; INSERT INTO kept VALUES (1)")
    one.terminate()
    other = await narrow.connect(pooled=True)
    assert await other.fetchval("SELECT count(*) FROM kept") == 0
    await other.execute("DROP TABLE kept")
    await other.close()


@pytest.mark.parametrize("pooled", [False, True])
async def test_a_query_can_be_cancelled(stage: Stage, pooled: bool) -> None:
    client = await stage.connect(pooled=pooled)
    with pytest.raises(asyncio.TimeoutError):
        await client.execute("SELECT pg_sleep(60)", timeout=0.3)
    assert await client.fetchval("SELECT 1") == 1
    await client.close()
