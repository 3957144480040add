"""What a reverse proxy must get right, whoever pays."""

import asyncio
import json
from collections.abc import AsyncIterator
from io import BytesIO

import pytest
from aiohttp import web
from aiohttp.client_exceptions import ClientError
from yarl import URL

from tests.paths.conftest import DOLLAR, Farebox, break_off
from tests.waiting import SECONDS_MAX, until

MEGABYTE = 1 << 20


@pytest.fixture
async def shop(farebox: Farebox) -> str:
    return await farebox.publish(price_per_call="0", endpoints=[])


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_every_method_reaches_the_upstream(farebox: Farebox, shop: str, method: str) -> None:
    # As it is: yarl would write %2F as a slash, which a query allows.
    url = URL(f"{shop}/a/b?c=d%2Fe", encoded=True)
    async with farebox.session.request(method, url, data=b"body") as response:
        assert response.status == 200
    (seen,) = farebox.upstream.seen
    assert (seen.method, seen.raw_path, farebox.upstream.bodies) == (method, "/a/b?c=d%2Fe", [b"body"])


async def test_head_is_priced_as_get_and_has_no_body(farebox: Farebox) -> None:
    shop = await farebox.publish(price_per_get="0.25", price_per_call=None)
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    assert (await farebox.agent.ask("HEAD", f"{shop}/x")).status == 402
    reply = await farebox.agent.ask("HEAD", f"{shop}/x", headers=account.headers)
    assert (reply.status, reply.text) == (200, "")
    assert int(reply.headers["Content-Length"]) > 0
    assert await farebox.balance(account) == DOLLAR * 3 // 4


async def test_events_arrive_while_the_upstream_is_still_sending(farebox: Farebox, shop: str) -> None:
    go_on = asyncio.Event()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: one\n\n")
        await go_on.wait()
        await response.write(b"data: two\n\n")
        return response

    farebox.upstream.handler = stream
    async with farebox.session.get(f"{shop}/events") as response:
        assert await response.content.readuntil(b"\n\n") == b"data: one\n\n"
        go_on.set()
        assert await response.content.read() == b"data: two\n\n"


async def test_a_request_body_streams_before_it_has_ended(farebox: Farebox, shop: str) -> None:
    arrived = asyncio.Event()

    async def receive(request: web.Request) -> web.Response:
        first = await request.content.readany()
        arrived.set()
        return web.Response(body=first + await request.content.read())

    async def chunks() -> AsyncIterator[bytes]:
        yield b"one"
        await asyncio.wait_for(arrived.wait(), SECONDS_MAX)
        yield b"two"

    farebox.upstream.handler = receive
    async with farebox.session.post(f"{shop}/upload", data=chunks()) as response:
        assert await response.read() == b"onetwo"


async def test_a_large_answer_is_not_kept_in_memory(farebox: Farebox, shop: str) -> None:
    """As fast as the caller reads: the rest waits at the upstream."""
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(256):
            await response.write(b"x" * MEGABYTE)
            sent += 1
        return response

    farebox.upstream.handler = flood
    async with farebox.session.get(f"{shop}/flood") as response:
        await response.content.readexactly(1)
        await asyncio.sleep(0.5)
        # Socket buffers on the way hold some; nobody holds the rest.
        assert sent < 48
        total = 1
        async for chunk in response.content.iter_any():
            total += len(chunk)
    assert total == 256 * MEGABYTE


async def test_a_body_over_the_limit_is_refused_and_costs_nothing(farebox: Farebox) -> None:
    shop = await farebox.publish()
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield b"x" * MEGABYTE

    async with farebox.session.post(f"{shop}/x", data=endless(), headers=account.headers) as response:
        assert (response.status, (await response.json())["code"]) == (413, "body-too-large")
    async with farebox.session.post(
        f"{shop}/x", data=BytesIO(bytes(5 * MEGABYTE)), headers=account.headers
    ) as response:
        assert response.status == 413
    assert await farebox.balance(account) == DOLLAR


async def test_a_payment_is_bound_to_a_body_that_does_not_fit_in_memory(farebox: Farebox) -> None:
    url = await farebox.publish() + "/upload"
    challenge = await farebox.agent.ask("POST", url)
    headers = {"PAYMENT-SIGNATURE": farebox.agent.sign(challenge)}
    body = bytes(range(256)) * (3 * MEGABYTE // 256)
    async with farebox.session.post(url, data=BytesIO(body), headers=headers) as response:
        assert response.status == 200
    assert farebox.upstream.bodies == [body]
    async with farebox.session.post(url, data=BytesIO(body[:-1] + b"x"), headers=headers) as response:
        assert (await response.json())["code"] == "payment-bound-elsewhere"


async def test_headers_are_clean_in_both_directions(farebox: Farebox, shop: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response(
            dict(request.headers),
            headers={
                "Set-Cookie": "a=b", "PAYMENT-RESPONSE": "forged", "X-PAYMENT-RESPONSE": "forged",
                "Settlement-Overrides": "{}", "Proxy-Authenticate": "Basic", "X-Kept": "yes",
            },
        )  # fmt: skip

    farebox.upstream.handler = answer
    account = await farebox.sign_up()
    sent = {
        **account.headers, "Cookie": "session=1", "Proxy-Authorization": "Basic eA==", "X-Hop": "hop",
        "Connection": "X-Hop", "TE": "trailers", "X-Forwarded-For": "6.6.6.6", "X_Forwarded_For": "6.6.6.6",
        "Forwarded": "for=6.6.6.6", "X-Real-IP": "6.6.6.6", "X-Agent-Wallet": "0x1", "X-API-Key": account.key,
        "Accept": "text/plain", "X-Custom": "kept",
    }  # fmt: skip
    reply = await farebox.agent.ask("GET", f"{shop}/headers", headers=sent)
    assert reply.status == 200
    seen = {name.lower(): value for name, value in json.loads(reply.text).items()}
    gone = {"authorization", "cookie", "proxy-authorization", "x-hop", "te", "x_forwarded_for", "forwarded"}
    assert not (gone | {"x-real-ip", "x-agent-wallet", "x-api-key"}) & seen.keys()
    assert (seen["x-forwarded-for"], seen["accept"], seen["x-custom"]) == ("127.0.0.1", "text/plain", "kept")
    assert account.key not in reply.text
    for name in ("Set-Cookie", "PAYMENT-RESPONSE", "X-PAYMENT-RESPONSE", "Settlement-Overrides"):
        assert name not in reply.headers
    assert reply.headers["X-Kept"] == "yes"


async def test_an_answer_that_breaks_off_does_not_look_whole(farebox: Farebox, shop: str) -> None:
    farebox.upstream.handler = break_off
    with pytest.raises(ClientError):
        await farebox.agent.ask("GET", f"{shop}/half")


async def test_a_closed_kept_connection_is_not_a_reason_to_send_twice(farebox: Farebox, shop: str) -> None:
    """The upstream drops the second request of a connection unanswered: it may have run."""

    async def drop_second(request: web.Request) -> web.StreamResponse:
        if len(farebox.upstream.seen) == 2:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(text="ok")

    farebox.upstream.handler = drop_second
    assert (await farebox.agent.ask("GET", f"{shop}/one")).status == 200
    assert (await farebox.agent.ask("GET", f"{shop}/two")).status == 502
    assert len(farebox.upstream.seen) == 2


async def test_redirects_are_the_callers_to_follow(farebox: Farebox, shop: str) -> None:
    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    farebox.upstream.handler = redirect
    reply = await farebox.agent.ask("GET", f"{shop}/x")
    assert (reply.status, reply.headers["Location"], len(farebox.upstream.seen)) == (302, "/elsewhere", 1)


async def test_a_client_that_asks_first_is_told_to_go_on(farebox: Farebox, shop: str) -> None:
    async with farebox.session.post(f"{shop}/x", data=b"body", expect100=True) as response:
        assert response.status == 200
    assert farebox.upstream.bodies == [b"body"]


@pytest.mark.parametrize("name", ["PAYMENT-SIGNATURE", "X-PAYMENT"])
async def test_garbage_payments_are_bad_requests(farebox: Farebox, name: str) -> None:
    url = await farebox.publish() + "/x"
    for value in ("garbage", "e30=", "A" * 33_000):
        reply = await farebox.agent.ask("GET", url, headers={name: value})
        assert (reply.status, reply.json["errors"][0]["pointer"]) == (400, f"header/{name}")


async def test_two_payments_are_a_bad_request(farebox: Farebox) -> None:
    url = await farebox.publish() + "/x"
    both = {"PAYMENT-SIGNATURE": "e30=", "X-PAYMENT": "e30="}
    assert (await farebox.agent.ask("GET", url, headers=both)).json["code"] == "two-payments"
    twice = await raw(farebox.origin, "GET", url, "PAYMENT-SIGNATURE: a\r\nPAYMENT-SIGNATURE: b\r\n")
    assert b" 400 " in twice


@pytest.mark.parametrize(
    "head", ["Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "Content-Length: -1\r\n"]
)
async def test_ambiguous_framing_is_refused(farebox: Farebox, shop: str, head: str) -> None:
    assert b" 400 " in await raw(farebox.origin, "POST", f"{shop}/x", head)
    assert farebox.upstream.seen == []


async def raw(origin: str, method: str, url: str, head: str) -> bytes:
    """The first bytes of the answer to a request that no client library would send."""
    host, _, port = origin.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    path = url.removeprefix(origin)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{head}\r\n".encode())
    async with asyncio.timeout(30):
        answer = await reader.read(200)
    writer.close()
    return answer


async def test_the_publishers_secret_reaches_the_upstream_and_nobody_else(farebox: Farebox) -> None:
    secret = "sk-very-secret-value"
    shop = await farebox.publish(price_per_call="0", api_key_header="X-Upstream-Key", upstream_api_key=secret)
    forged = await farebox.agent.ask("GET", f"{shop}/x", headers={"X-Upstream-Key": "forged"})
    assert forged.status == 200
    assert farebox.upstream.seen[0].headers.getall("X-Upstream-Key") == [secret]
    store = await farebox.agent.ask("GET", shop)
    assert secret not in store.text
    rows = await farebox.pool.fetch("SELECT publishers::text AS line FROM publishers")
    assert not any(secret in row["line"] or secret.encode().hex() in row["line"] for row in rows)


async def test_a_new_price_and_a_revoked_key_are_known_within_a_second(farebox: Farebox) -> None:
    shop = await farebox.publish()
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    listed = await farebox.agent.ask("GET", shop)
    publisher_id = listed.json["data"]["id"]
    url = f"{farebox.origin}/organizations/default/publishers/{publisher_id}/pricing"
    changed = await farebox.agent.ask(
        "PUT",
        url,
        headers=farebox.publisher.headers,
        body={"asset_id": str(farebox.asset.id), "price_per_call": "0.5"},
    )
    assert changed.status == 200, changed.text

    async def has_changed() -> bool:
        offers = (await farebox.agent.ask("GET", f"{shop}/x")).offers
        return bool(offers[0]["amount"] == str(DOLLAR // 2))

    await until(has_changed)

    assert (await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)).status == 200
    keys = f"{farebox.origin}/organizations/default/api-keys"
    (key,) = (await farebox.agent.ask("GET", keys, headers=account.headers)).json["data"]
    revoked = await farebox.agent.ask("DELETE", f"{keys}/{key['id']}", headers=account.headers)
    assert revoked.status == 200

    async def is_refused() -> bool:
        return (await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)).status == 401

    await until(is_refused)
