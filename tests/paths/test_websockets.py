"""WebSockets through the gateway: what passes, and what it costs."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
import websockets
from aiohttp import WSMsgType, WSServerHandshakeError, web

from gateway import cost
from tests.paths.conftest import DOLLAR, Account, Farebox
from tests.waiting import SECONDS_MAX, until

CENT = DOLLAR // 100


async def echo(request: web.Request) -> web.StreamResponse:
    """Say everything back; ``close 4001 reason`` closes so, and ``drop`` hangs up."""
    socket = web.WebSocketResponse(protocols=("chat.v2",), autoping=False)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.PING:
            await socket.pong(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
        elif message.type is WSMsgType.TEXT and message.data.startswith("close"):
            _, code, reason = message.data.split()
            await socket.close(code=int(code), message=reason.encode())
        elif message.data == "drop":
            assert request.transport is not None
            request.transport.abort()
        elif message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
    return socket


@pytest.fixture
async def account(farebox: Farebox) -> Account:
    farebox.upstream.handler = echo
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    return account


def address(shop: str) -> str:
    return f"{shop.replace('http:', 'ws:')}/live?room=1"


async def by_use(farebox: Farebox, prices: dict[str, Any], change: dict[str, Any]) -> str:
    shop = await farebox.publish(**{"price_per_call": None, **prices})
    publisher_id = await farebox.pool.fetchval("SELECT id FROM publishers WHERE slug = 'shop'")
    url = f"{farebox.origin}/organizations/default/publishers/{publisher_id}/pricing"
    body = {"asset_id": str(farebox.asset.id), **change}
    assert (await farebox.agent.ask("PUT", url, headers=farebox.publisher.headers, body=body)).status == 200
    await asyncio.sleep(0.7)
    return shop


async def test_messages_pings_and_close_codes_pass_for_the_price_of_a_call(
    farebox: Farebox, account: Account
) -> None:
    shop = await farebox.publish(price_per_get="0.25", price_per_call=None)
    async with websockets.connect(
        address(shop),
        additional_headers=account.headers,
        subprotocols=[websockets.Subprotocol("chat.v1"), websockets.Subprotocol("chat.v2")],
    ) as socket:
        assert socket.subprotocol == "chat.v2"
        # Paid for by the time it is open.
        assert await farebox.balance(account) == DOLLAR * 3 // 4
        await socket.send("grüezi")
        assert await socket.recv() == "grüezi"
        await socket.send(b"\x00" * 100_000)
        assert await socket.recv() == b"\x00" * 100_000
        await asyncio.wait_for(await socket.ping(b"there?"), SECONDS_MAX)
        await socket.send("close 4001 enough")
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "enough")
    (seen,) = farebox.upstream.seen
    assert seen.path_qs == "/live?room=1"
    assert "Authorization" not in seen.headers
    assert await farebox.spent(account, DOLLAR) == 25 * CENT
    (used,) = await farebox.pool.fetch("SELECT outcome, status, cost FROM usage_events")
    assert tuple(used) == ("charged", 101, 25 * CENT)


async def test_the_callers_close_reaches_the_upstream(farebox: Farebox, account: Account) -> None:
    codes: list[int | None] = []

    async def listen(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            pass
        codes.append(socket.close_code)
        return socket

    farebox.upstream.handler = listen
    shop = await farebox.publish(price_per_call="0")
    async with websockets.connect(address(shop)) as socket:
        await socket.close(4321, "bye")
        assert socket.close_code == 4321
    await until(lambda: asyncio.sleep(0, result=codes == [4321]))


async def test_an_upstream_that_vanishes_is_told_apart_from_one_that_closes(
    farebox: Farebox, account: Account
) -> None:
    shop = await farebox.publish(price_per_call="0")
    async with websockets.connect(address(shop)) as socket:
        await socket.send("drop")
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1014


async def test_an_upstream_that_refuses_costs_nothing(farebox: Farebox, account: Account) -> None:
    async def refuse(request: web.Request) -> web.Response:
        if request.path == "/moved":
            raise web.HTTPFound("/live")
        return web.Response(status=404)

    farebox.upstream.handler = refuse
    shop = await farebox.publish()
    for path in ("live", "moved"):
        with pytest.raises(WSServerHandshakeError) as refused:
            await farebox.session.ws_connect(f"{shop}/{path}", headers=account.headers)
        assert refused.value.status == 502
    # A redirect is not followed: nobody priced where it leads.
    assert [seen.path for seen in farebox.upstream.seen] == ["/live", "/moved"]
    assert await farebox.spent(account, DOLLAR) == 0


async def test_without_money_there_is_no_connection(farebox: Farebox, account: Account) -> None:
    shop = await farebox.publish(price_per_call="2")
    for headers in ({}, account.headers):
        with pytest.raises(WSServerHandshakeError) as refused:
            await farebox.session.ws_connect(f"{shop}/live", headers=headers)
        assert refused.value.status == 402
    assert farebox.upstream.seen == []


async def test_a_connection_is_paid_for_on_chain(farebox: Farebox, account: Account) -> None:
    shop = await farebox.publish()
    challenge = await farebox.agent.ask("GET", f"{shop}/live")
    headers = {"PAYMENT-SIGNATURE": farebox.agent.sign(challenge)}
    async with farebox.session.ws_connect(f"{shop}/live", headers=headers) as socket:
        await socket.send_str("paid")
        assert await socket.receive_str() == "paid"
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == 25 * CENT


async def test_a_handshake_that_is_none_is_refused(farebox: Farebox, account: Account) -> None:
    shop = await farebox.publish()
    headers = {**account.headers, "Upgrade": "websocket", "Connection": "keep-alive"}
    reply = await farebox.agent.ask("GET", f"{shop}/live", headers=headers)
    assert (reply.status, reply.json["code"]) == (400, "invalid-request")
    assert await farebox.spent(account, DOLLAR) == 0


async def test_bytes_count_in_both_directions(farebox: Farebox, account: Account) -> None:
    prices = {"price_per_get": "0.01", "base_price_per_1000_rows": "0.001"}
    shop = await by_use(farebox, prices, {"pricing_model": "per_byte", "reserve_max_charge": "0.05"})
    # Without a reserve of its own a piece is a mebibyte, which is dearer than this balance.
    async with websockets.connect(address(shop), additional_headers=account.headers) as socket:
        for _ in range(3):
            await socket.send("x" * 1000)
            await socket.recv()
    assert await farebox.spent(account, DOLLAR) == CENT + 6 * 1000


async def test_a_long_connection_is_charged_in_pieces_until_the_money_is_out(
    farebox: Farebox, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "PIECE_BYTES", 100_000)
    prices = {"price_per_get": "0.01", "base_price_per_1000_rows": "0.001"}
    shop = await by_use(farebox, prices, {"pricing_model": "per_byte"})
    sent = 0
    async with websockets.connect(address(shop), additional_headers=account.headers) as socket:
        with suppress(websockets.ConnectionClosed):
            for _ in range(100):
                await socket.send(b"x" * 30_000)
                sent += 1
                await socket.recv()
    assert socket.close_code == 4402
    assert "the balance has" in (socket.close_reason or "")
    # Every message that passed is paid, and less than a piece is left over.
    paid = await farebox.spent(account, DOLLAR)
    assert 0 <= DOLLAR - paid < 100_000
    assert paid - CENT in ((2 * sent - 1) * 30_000, (2 * sent - 2) * 30_000)
    assert await farebox.pool.fetchval("SELECT count(*) FROM usage_events WHERE outcome = 'charged'") > 5


async def test_an_hour_is_charged_by_the_time_that_the_connection_was_open(
    farebox: Farebox, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Holds are renewed all the time, and the sum is the time's price all the same.
    monkeypatch.setattr(cost, "PIECE_SECONDS", 0.1)
    shop = await farebox.publish(price_per_call="0.01", hourly_rate="3.6")
    async with websockets.connect(address(shop), additional_headers=account.headers) as socket:
        await asyncio.sleep(1)
        await socket.send("still there")
        assert await socket.recv() == "still there"
    # A thousandth of a dollar each second.
    assert CENT + 1000 <= await farebox.spent(account, DOLLAR) <= CENT + 1600
    assert await farebox.pool.fetchval("SELECT count(*) FROM usage_events WHERE outcome = 'charged'") >= 5


async def test_a_caller_who_vanishes_has_its_last_piece_charged(farebox: Farebox, account: Account) -> None:
    prices = {"price_per_get": "0.01", "base_price_per_1000_rows": "0.0001"}
    shop = await by_use(farebox, prices, {"pricing_model": "per_byte"})
    socket = await websockets.connect(address(shop), additional_headers=account.headers)
    await socket.send("x" * 1000)
    await socket.recv()
    socket.transport.abort()
    assert await farebox.spent(account, DOLLAR) == CENT + 200
