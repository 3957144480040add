"""What strangers, publishers and broken neighbours can do to everybody else."""

import asyncio
import base64
import logging
import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import asyncpg
import pytest
from aiohttp.resolver import AsyncResolver

from control.agent.client import Agent
from gateway import snapshot
from gateway.snapshot import Snapshot
from gateway.upstreams import dial
from tests.paths.conftest import DOLLAR, Account, Farebox
from tests.waiting import until


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A name server that is asked and never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        yield server


async def test_a_publisher_whose_name_does_not_resolve_delays_no_other(
    farebox: Farebox, silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Name servers may take as long as they like; what is in the hosts file is not asked of them."""
    servers = [f"127.0.0.1:{silent.getsockname()[1]}"]
    monkeypatch.setattr(dial, "DefaultResolver", partial(AsyncResolver, nameservers=servers))
    url = f"http://localhost:{farebox.upstream.url.rpartition(':')[2]}"
    good = await farebox.publish("good", price_per_call="0", api_url=url)
    slow = [await farebox.publish(f"slow{n}", price_per_call="0", api_url=url) for n in range(12)]
    await farebox.pool.execute(
        "UPDATE publishers SET api_url = 'http://' || slug || '.slow.test' WHERE slug LIKE 'slow%'"
    )
    await asyncio.sleep(1)
    asked = set[str]()

    def all_asked() -> bool:
        with suppress(BlockingIOError):
            while question := silent.recv(512):
                asked.add(question.partition(b"\x04slow")[0].rpartition(b"slow")[2].decode())
        return len(asked) == len(slow)

    async with asyncio.TaskGroup() as group:
        asking = [group.create_task(farebox.agent.ask("GET", f"{shop}/x")) for shop in slow]
        await until(all_asked)
        assert (await farebox.agent.ask("GET", f"{good}/x")).status == 200
        assert not any(one.done() for one in asking)
    assert {one.result().status for one in asking} == {504}


async def test_a_wallet_without_money_makes_nobody_keep_its_upload(farebox: Farebox) -> None:
    """Anybody can sign; what a signature is worth is asked before the body is read and kept."""
    shop = await farebox.publish()
    pauper = Agent(farebox.session, b"\x07" * 32)
    payment = pauper.sign(await farebox.agent.ask("POST", f"{shop}/x"))
    host, _, port = farebox.origin.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    path = shop.removeprefix(farebox.origin)
    head = f"Host: x\r\nPAYMENT-SIGNATURE: {payment}\r\nContent-Length: 3000000\r\n"
    writer.write(f"POST {path}/x HTTP/1.1\r\n{head}\r\n".encode() + b"x" * 1000)
    try:
        async with asyncio.timeout(30):
            assert b" 402 " in await reader.readline()
    finally:
        writer.close()


async def test_the_snapshot_follows_changes_whatever_the_driver_raised_once(
    farebox: Farebox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that dies in the middle of a question is an ``InternalClientError``, which is neither."""
    shop, account = await farebox.publish(), await farebox.sign_up()
    await spend(farebox, shop, account)
    really, failures = Snapshot.catch_up, 0

    async def stumble(self: Snapshot) -> None:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise asyncpg.InternalClientError("cannot switch to state 11; another operation is in progress")
        await really(self)

    monkeypatch.setattr(Snapshot, "catch_up", stumble)
    await until(lambda: failures > 1)
    await revoke(farebox, account)
    await until(lambda: is_refused(farebox, shop, account))


async def test_a_gateway_that_was_away_longer_than_changes_are_kept_reads_everything(
    farebox: Farebox, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, account = await farebox.publish(), await farebox.sign_up()
    await spend(farebox, shop, account)
    really, is_away = Snapshot.catch_up, True

    async def away(self: Snapshot) -> None:
        if is_away:
            raise OSError("away")
        await really(self)

    monkeypatch.setattr(Snapshot, "catch_up", away)
    await asyncio.sleep(0.6)
    await revoke(farebox, account)
    await farebox.pool.execute("UPDATE changes SET created_at = now() - interval '2 days'")
    await snapshot.prune(farebox.pool)
    is_away = False
    await until(lambda: is_refused(farebox, shop, account))


async def is_refused(farebox: Farebox, shop: str, account: Account) -> bool:
    return (await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)).status == 401


async def spend(farebox: Farebox, shop: str, account: Account) -> None:
    await farebox.fund(account, DOLLAR)
    assert (await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)).status == 200


async def revoke(farebox: Farebox, account: Account) -> None:
    url = f"{farebox.origin}/organizations/default/api-keys"
    (key,) = (await farebox.agent.ask("GET", url, headers=account.headers)).json["data"]
    revoked = await farebox.agent.ask("DELETE", f"{url}/{key['id']}", headers=account.headers)
    assert revoked.status == 200


@pytest.mark.parametrize("place", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
async def test_a_cursor_at_the_end_of_time_is_a_bad_request(farebox: Farebox, place: str) -> None:
    account = await farebox.sign_up()
    cursor = base64.urlsafe_b64encode(f"{place}|{account.organization_id}".encode()).decode()
    url = f"{farebox.origin}/wallet/transactions?cursor={cursor}"
    assert (await farebox.agent.ask("GET", url, headers=account.headers)).status == 400


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"junk\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[/x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_malformed_requests_do_not_fill_the_log(
    farebox: Farebox, caplog: pytest.LogCaptureFixture, request_bytes: bytes
) -> None:
    host, _, port = farebox.origin.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request_bytes)
    async with asyncio.timeout(30):
        await reader.read(500)
    writer.close()
    await asyncio.sleep(0.1)
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []
