"""A publisher's database over TLS: who vouches for it, and who does not."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import trustme
import uvloop

from config.settings import Queries as Limits
from config.settings import Upstream
from gateway.kit import dsn, ids
from gateway.kit.problem import Refusal
from gateway.kit.ssrf import Guard
from gateway.options import Question
from gateway.upstreams import postgres_wire
from gateway.upstreams.postgres import Queries
from tests.paths.conftest import DOLLAR, Farebox
from tests.paths.selling import Seller, administered
from tests.paths.selling import seller as seller
from tests.paths.selling import shop_server as shop_server
from tests.waiting import until

NOW = datetime.now(UTC)
TLS_REQUEST = struct.pack(">ii", 8, 80877103)
OURS, OTHERS = trustme.CA(), trustme.CA()
SERVER = OURS.issue_cert("127.0.0.1")
OLD = OURS.issue_cert("127.0.0.1", not_before=NOW - timedelta(days=2), not_after=NOW - timedelta(days=1))


def pem(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


@asynccontextmanager
async def fronted(seller: Seller, server: trustme.LeafCert | None) -> AsyncIterator[Seller]:
    """The same database behind TLS as PostgreSQL begins it: the one that tests start was built without."""
    context = None if server is None else context_of(server)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            first = await reader.readexactly(8)
            if first == TLS_REQUEST:
                writer.write(b"N" if context is None else b"S")
                if context is None:
                    return
                await writer.start_tls(context)
                first = b""
            theirs, ours = await asyncio.open_connection("127.0.0.1", seller.port)
            ours.write(first)
            await asyncio.gather(piped(reader, ours), piped(theirs, writer))

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    listening = await asyncio.start_server(once, "127.0.0.1", 0)
    try:
        yield replace(seller, port=listening.sockets[0].getsockname()[1])
    finally:
        listening.close()


async def piped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


def context_of(server: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.configure_cert(context)
    return context


@pytest.fixture
async def queries() -> AsyncIterator[Queries]:
    made = Queries(Guard(is_private_allowed=True), Upstream(), Limits(seconds_max=5))
    yield made
    await made.close()


async def asked(queries: Queries, text: str) -> bytes:
    question = Question("SELECT id FROM items LIMIT 1", (), 1, "csv")
    async with queries.ask(ids.new(), dsn.read(text), question) as answer:
        return b"".join([chunk async for chunk in answer.chunks])


@pytest.mark.parametrize(
    ("host", "mode", "roots", "is_served"),
    [
        ("127.0.0.1", "verify-full", OURS, True),
        ("127.0.0.1", "verify-ca", OURS, True),
        ("127.0.0.1", None, OURS, True),        # the strictest is the usual one
        ("127.0.0.1", None, None, False),       # no public authority knows it
        ("127.0.0.1", None, OTHERS, False),
        ("localhost", None, OURS, False),       # it is vouched for by another name
        ("localhost", "require", None, True),   # nobody has to vouch for it
        ("127.0.0.1", "disable", None, True),
    ],
)  # fmt: skip
async def test_whoever_is_vouched_for_is_asked(
    queries: Queries, seller: Seller, host: str, mode: str | None, roots: trustme.CA | None, is_served: bool
) -> None:
    async with fronted(seller, SERVER) as behind:
        text = behind.dsn(host=host, sslmode=mode or "")
        text = text if roots is None else dsn.with_roots(text, pem(roots))
        if is_served:
            assert await asked(queries, text) == b"id\r\n1\r\n"
            return
        with pytest.raises(Refusal) as refused:
            await asked(queries, text)
        assert refused.value.slug == "upstream-unreachable"


@pytest.mark.parametrize(
    "server",
    [
        None,                           # it has no TLS today
        OLD,
        OTHERS.issue_cert("127.0.0.1"),
    ],
)  # fmt: skip
async def test_a_password_is_sent_to_nobody_else(
    queries: Queries, seller: Seller, server: trustme.LeafCert | None
) -> None:
    async with fronted(seller, server) as behind:
        with pytest.raises(Refusal) as refused:
            await asked(queries, dsn.with_roots(behind.dsn(sslmode=""), pem(OURS)))
        assert refused.value.slug == "upstream-unreachable"
        assert await asked(queries, behind.dsn()) == b"id\r\n1\r\n"


def test_the_loop_that_serves_is_one_of_them(shop_server: tuple[str, int]) -> None:
    """uvloop, whose transports are not asyncio's by inheritance: over TLS, in the clear, and by a socket."""
    directory, port = shop_server

    async def ask_each() -> list[bytes]:
        made = Queries(Guard(is_private_allowed=True), Upstream(), Limits(seconds_max=5))
        async with administered(directory, port) as seller, fronted(seller, SERVER) as behind:
            over_tls = dsn.with_roots(behind.dsn(sslmode=""), pem(OURS))
            answers = [await asked(made, text) for text in (over_tls, seller.dsn())]
            # What is not trusted is closed by the loop itself, which lets nobody write there any more.
            with pytest.raises(Refusal, match="cannot be reached"):
                await asked(made, dsn.with_roots(behind.dsn(sslmode=""), pem(OTHERS)))
        await made.close()
        socket = f"{directory}/.s.PGSQL.{port}"
        wire = postgres_wire.Wire(None, replace(dsn.read(seller.dsn()), socket=socket))
        await wire.open()
        wire.close()
        return answers

    assert uvloop.run(ask_each()) == [b"id\r\n1\r\n"] * 2


async def test_a_statement_is_stopped_over_tls_too(queries: Queries, seller: Seller) -> None:
    async with fronted(seller, SERVER) as behind:
        text = dsn.with_roots(behind.dsn(sslmode=""), pem(OURS))
        endless = Question("SELECT repeat('x', 300000) FROM items a, items b", (), 10_000_000)
        with pytest.raises(Refusal) as refused:
            async with queries.ask(ids.new(), dsn.read(text), endless):
                pass
        assert refused.value.slug == "result-too-large"

        async def is_stopped() -> bool:
            running = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop_reader'"
            return bool(await seller.admin.fetchval(running) == 0)

        await until(is_stopped)


async def test_a_query_is_sold_over_tls(farebox: Farebox, seller: Seller) -> None:
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    async with fronted(seller, SERVER) as behind:
        for slug, roots, status in [("ours", OURS, 200), ("others", OTHERS, 502)]:
            config = {"connection_string": behind.dsn(sslmode=""), "root_certificate": pem(roots)}
            shop = await behind.sell(farebox, slug=slug, name=slug, config=config)
            body = {"query": "SELECT id FROM items LIMIT 2"}
            reply = await farebox.agent.ask("POST", shop, headers=account.headers, body=body)
            assert reply.status == status, reply.text


def test_the_public_authorities_are_not_trusted_beside_ones_own() -> None:
    context = postgres_wire.context_of("verify-full", pem(OURS))
    assert context.cert_store_stats()["x509_ca"] == 1
