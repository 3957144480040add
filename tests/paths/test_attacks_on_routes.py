"""Ways around a price or a closed door, and into somebody else's request or secrets."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from gateway.snapshot import Snapshot
from tests.paths.conftest import DOLLAR, Farebox


async def test_a_junk_payment_opens_no_endpoint_that_is_for_members(farebox: Farebox) -> None:
    members = {"method": "GET", "path": "/me", "access": "authenticated"}
    shop = await farebox.publish(price_per_call="0", endpoints=[members])
    assert (await farebox.agent.ask("GET", f"{shop}/me")).status == 401
    for name in ("X-PAYMENT", "PAYMENT-SIGNATURE"):
        reply = await farebox.agent.ask("GET", f"{shop}/me", headers={name: "junk"})
        assert reply.status in (400, 401)
    assert farebox.upstream.seen == []


async def test_strangers_are_told_a_price_also_where_free_calls_are_for_members(farebox: Farebox) -> None:
    """A price is paid by everyone, says ``Endpoint.access``; here it is the one for any call."""
    shop = await farebox.publish(endpoints=[{"method": "GET", "path": "/me", "access": "authenticated"}])
    assert (await farebox.agent.ask("GET", f"{shop}/me")).status == 402


@pytest.mark.parametrize(
    "path",
    [
        "/x/..;/admin",  # Tomcat and Jetty drop the parameter, then resolve the dots
        "/.;a=b/admin",
        "/;/admin",  # the same, with an empty segment
        "/x;y/..%3B/admin",
        "/x/%25%32%65%25%32%65/admin",  # encoded twice, the digits of the second time one by one
        "/%256%31dmin",
        "/x/%c0%ae%c0%ae/admin",  # dots in overlong UTF-8
        "/admin%20",  # Windows takes a dot or a space from the end
        "/admin.",
    ],
)
async def test_no_spelling_of_a_path_gets_around_a_protected_endpoint(farebox: Farebox, path: str) -> None:
    admin = {"method": "GET", "path": "/admin", "is_protected": True}
    shop = await farebox.publish(price_per_call="0", endpoints=[admin])
    async with farebox.session.get(URL(shop + path, encoded=True)) as response:
        assert response.status in (400, 403)
    assert farebox.upstream.seen == []


async def test_no_spelling_of_a_free_word_is_another_value_of_a_dear_parameter(farebox: Farebox) -> None:
    """``/reports/Sample`` is a report of its own to a server that minds the case."""
    dear = {"method": "GET", "path": "/reports/{id}", "price": "5"}
    free = {"method": "GET", "path": "/reports/sample", "price": "0"}
    shop = await farebox.publish(endpoints=[dear, free])
    assert (await farebox.agent.ask("GET", f"{shop}/reports/sample")).status == 200
    assert (await farebox.agent.ask("GET", f"{shop}/reports/Sample")).status == 402


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
async def test_no_header_changes_the_method_that_was_priced(farebox: Farebox, name: str) -> None:
    shop = await farebox.publish(price_per_call="0")
    assert (await farebox.agent.ask("POST", f"{shop}/x", headers={name: "DELETE"})).status == 200
    assert name not in farebox.upstream.seen[0].headers


async def test_a_trace_does_not_echo_the_publishers_secret(farebox: Farebox) -> None:
    """A server that knows TRACE sends back what it was sent: RFC 9110 section 9.3.8."""
    secret = "sk-very-secret-value"

    async def echo(request: web.Request) -> web.Response:
        return web.Response(text=str(dict(request.headers)))

    farebox.upstream.handler = echo
    shop = await farebox.publish(price_per_call="0", api_key_header="X-Key", upstream_api_key=secret)
    reply = await farebox.agent.ask("TRACE", f"{shop}/x")
    assert secret not in reply.text
    assert farebox.upstream.seen == []


async def test_the_callers_key_reaches_no_publisher_in_whatever_header(farebox: Farebox) -> None:
    shop = await farebox.publish(price_per_call="0")
    key = (await farebox.sign_up()).key
    for value in (key, f"Bearer {key}", f"token={key}", f'"{key}"'):
        await farebox.agent.ask("GET", f"{shop}/x", headers={"X-Api-Key": value})
    assert all(key not in value for seen in farebox.upstream.seen for value in seen.headers.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Service-Worker-Allowed", "/"),
        ("Clear-Site-Data", '"*"'),
        ("Strict-Transport-Security", "max-age=31536000"),
        ("Report-To", "{}"),
        ("NEL", "{}"),
    ],
)
async def test_a_publisher_says_nothing_for_the_whole_origin(farebox: Farebox, name: str, value: str) -> None:
    """All publishers share the gateway's origin, and so does its own documentation page."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(headers={name: value})

    farebox.upstream.handler = answer
    shop = await farebox.publish(price_per_call="0")
    assert name not in (await farebox.agent.ask("GET", f"{shop}/x")).headers


async def test_an_upstream_switches_no_protocols(farebox: Farebox) -> None:
    """Nobody asked it to, and a load balancer in front would make a tunnel of the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    shop = await farebox.publish(price_per_call="0", api_url=url)
    head = b"Connection: Upgrade\r\nUpgrade: other\r\n"
    answer = await raw(farebox.origin, b"GET " + shop.removeprefix(farebox.origin).encode() + b"/x", head)
    server.close()
    assert b" 502 " in answer.split(b"\r\n")[0]


async def raw(origin: str, start: bytes, head: bytes, body: bytes = b"") -> bytes:
    """The first bytes of the answer to a request that no client library would send."""
    host, _, port = origin.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(start + b" HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n" + body)
    async with asyncio.timeout(30):
        answer = await reader.read(2000)
    writer.close()
    return answer


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 300\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 300\r\nConnection: Upgrade\r\nUpgrade: foo\r\n",
    ],
)
async def test_a_body_that_was_cut_short_leaves_no_connection_to_the_next_caller(
    farebox: Farebox, head: bytes
) -> None:
    """The upstream answers early, the caller goes: what is still owed must not be the next one's head."""
    connections: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = len(connections)
        connections.append(b"")
        while chunk := await reader.read(65536):
            connections[own] += chunk
            if b"\r\n\r\n" in chunk:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    shop = await farebox.publish(price_per_call="0", api_url=url)
    path = shop.removeprefix(farebox.origin).encode()
    assert b" 200 " in await raw(farebox.origin, b"POST " + path + b"/cut", head, b"3\r\nabc\r\n")
    await asyncio.sleep(0.2)
    assert b" 200 " in await raw(farebox.origin, b"GET " + path + b"/next", b"")
    server.close()
    assert [one.split(b" ")[1] for one in connections] == [b"/cut", b"/next"]


async def test_the_next_owner_of_a_slug_is_served_in_whatever_order_the_changes_are_read(
    farebox: Farebox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted and published again within one look at the changes."""
    shop = await farebox.publish()
    old = (await farebox.agent.ask("GET", shop)).json["data"]["id"]
    really, may_look = Snapshot.catch_up, asyncio.Event()

    async def later(self: Snapshot) -> None:
        await may_look.wait()
        await really(self)

    monkeypatch.setattr(Snapshot, "catch_up", later)
    await asyncio.sleep(0.6)
    url = f"{farebox.origin}/organizations/default/publishers"
    for price in range(1, 5):
        deleted = await farebox.agent.ask("DELETE", f"{url}/{old}", headers=farebox.publisher.headers)
        assert deleted.status == 200
        made = await farebox.agent.ask(
            "POST", url, headers=farebox.publisher.headers, body=publisher(farebox, str(price))
        )
        old = made.json["data"]["id"]
        may_look.set()
        await asyncio.sleep(0.7)
        may_look.clear()
        await asyncio.sleep(0.6)
        reply = await farebox.agent.ask("GET", f"{shop}/x")
        assert (reply.status, reply.offers[0]["amount"]) == (402, str(price * DOLLAR))


def publisher(farebox: Farebox, price: str) -> dict[str, Any]:
    return {
        "name": "shop",
        "slug": "shop",
        "publisher_category": "integration",
        "api_url": farebox.upstream.url,
        "wallet_address": farebox.chain.accounts[6].address,
        "wallet_network_id": farebox.chain.network,
        "price_per_call": price,
    }
