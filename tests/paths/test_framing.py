"""What cannot be read in one way only is refused, and what is accepted is one upstream request."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import unquote

import pytest

from tests.paths.conftest import DOLLAR, Farebox
from tests.paths.framing import BAD, GOOD, Vector
from tests.waiting import SECONDS_MAX

PATH = "/publishers/shop"


@pytest.fixture
async def farebox_with_shop(farebox: Farebox) -> Farebox:
    await farebox.publish(price_per_call="0", endpoints=[])
    return farebox


@asynccontextmanager
async def connected(origin: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = origin.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


async def send(origin: str, data: bytes) -> bytes:
    """All that comes back until the server closes, or until it has nothing to say for a while."""
    answer = b""
    async with connected(origin) as (reader, writer):
        writer.write(data)
        try:
            # The first word may take its time on a busy machine; what follows it does not.
            while more := await asyncio.wait_for(reader.read(65_536), 0.4 if answer else SECONDS_MAX):
                answer += more
        except (TimeoutError, ConnectionError):
            pass
    return answer


def statuses(answer: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.[01] ([0-9]{3}) ", answer)]


def written(vector: Vector) -> bytes:
    return vector.data.replace("{shop}", PATH).replace("{host}", "gateway").encode("latin-1")


async def test_a_caller_of_before_http_1_1_is_not_told_to_go_on(farebox_with_shop: Farebox) -> None:
    """It would take that for the answer, and the answer for the one to its next request."""
    for version, told in (("1.0", [200]), ("1.1", [100, 200])):
        head = f"POST {PATH}/x HTTP/{version}\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
        assert statuses(await send(farebox_with_shop.origin, head.encode() + b"x")) == told


async def test_each_accepted_request_is_exactly_one_upstream_request(farebox_with_shop: Farebox) -> None:
    farebox = farebox_with_shop
    assert len(GOOD) + len(BAD) >= 50
    wrong = []
    for vector in [*GOOD, *BAD]:
        before = len(farebox.upstream.seen)
        answer = await send(farebox.origin, written(vector))
        served = len(farebox.upstream.seen) - before
        expected = [vector.status] * (vector.served or 1)
        if (served, statuses(answer)) != (vector.served, expected):
            wrong.append((vector.name, served, answer[:300]))
        elif vector.status != 200 and b"application/problem+json" not in answer:
            wrong.append((f"{vector.name}: no problem", served, answer[:300]))
    assert not wrong, "\n".join(map(str, wrong))


# Each is the path behind the slug, with ``/secret`` protected: no spelling of it reaches the upstream.
TRICKS = [
    "/%2e%2e/secret", "/a/../secret", "/a/%2e%2e/secret", "/a/..%2fsecret", "/a%2f..%2fsecret", "/./secret",
    "/%2e/secret", "//secret", "/a//secret", "/a/..;/secret", "/a/..;x=y/secret", "/a/%2e%2e;/secret",
    "/.;/secret", "/secret/", "/secret;a=b", "/SECRET", "/Secret/", "/secret/;a=b", "/secret/;", "/secret.",
    "/%73ecret", "/%2573ecret", "/secret%2f", "/secret%00", "/secret%0a", "/secret%0d%0aX: y", "/secret%5c",
    "/a\\..\\secret", "/a%5c..%5csecret", "/..%c0%afsecret", "/%c0%ae%c0%ae/secret", "/secret%20",
    "/secret%09", "/secret?", "/secret?a=b", "/secret??", "/secret&a=b", "/%u0073ecret", "/secret%",
    "/secret%2", "/%zz/secret", "/secret/.", "/secret/..", "/secret/./", "/.secret/../secret",
    "/a/b/../../secret", "/secret/%2e", "/%252e%252e/secret", "/a/%252e%252e%252fsecret",
    "/%ef%bc%8fsecret", "/\u00ef/secret", "/secret\u00ad", "/secret|", "/secret<", "/[secret]", "/{secret}",
    "/secret^", "/`secret`", "/secret\"", "///secret///", "/;/secret", "/;a=b/secret", "/a;/../secret",
    "/%3b/secret", "/secret%3ba=b", "/secret%23", "/secret%3f", "/secret%20;a", "/secret.;a=b",
]  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_no_spelling_of_a_protected_path_reaches_the_upstream(farebox: Farebox, method: str) -> None:
    protected = {"method": "GET", "path": "/secret", "is_protected": True}
    await farebox.publish(price_per_call="0", endpoints=[protected])
    for trick in TRICKS:
        line = f"{method} {PATH}{trick} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"
        answer = await send(farebox.origin, line.encode("utf-8"))
        (status,) = statuses(answer)
        assert status in (200, 400, 403), (trick, answer)
        for seen in farebox.upstream.seen:
            # Byte for byte what was priced, and no server takes it for the protected one.
            assert seen.raw_path == trick
            assert harmless(seen.raw_path), trick
        farebox.upstream.seen.clear()


def harmless(path: str) -> bool:
    """Whether a server that decodes once, cuts parameters and ignores case would serve something else."""
    plain = unquote(path.partition("?")[0]).casefold()
    parts = [part.partition(";")[0].rstrip(" .") or part[:2] for part in plain.split("/")]
    return not {"", ".", ".."} & set(parts[1:-1]) and [part for part in parts if part] != ["secret"]


async def test_no_path_of_the_management_api_is_a_bug_of_ours(farebox: Farebox) -> None:
    """What is tried on a publisher is tried where no publisher is."""
    for trick in [*TRICKS, "/%ff", "/%ed%a0%80", "/%00", "/\x7f", "?%ff=%ff", "?a=%00&limit=%ff"]:
        for prefix in ("/publishers", "", "/organizations", "/wallet/transactions", "/publishers/unknown"):
            line = f"GET {prefix}{trick} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"
            answer = await send(farebox.origin, line.encode("utf-8"))
            (status,) = statuses(answer)
            assert 200 <= status < 500, (prefix, trick, answer)


HOSTILE_FIELDS = [
    "X-A: \xff\xfe", "Authorization: Bearer \xff", "Authorization: \xff", "Authorization:",
    "Authorization: Bearer", "PAYMENT-SIGNATURE: \xff", "X-PAYMENT: \xff", "PAYMENT-SIGNATURE:",
    "Content-Type: \xff/\xff", "Accept: \xff", "Content-Type: multipart/form-data; boundary=\xff",
    "Content-Encoding: gzip", "Content-Encoding: \xff", "Expect: 100-continue", "Expect: nonsense",
    "Expect: \xff",
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \xff",
    "Upgrade: websocket\r\nConnection: Upgrade", "Upgrade: h2c", "Connection: \xff",
    "Connection: close, Authorization, Host", "Range: bytes=-1", "Cookie: \xff", "X-Forwarded-For: \xff",
    "Idempotency-Key: \xff", "Idempotency-Key:", "If-None-Match: \xff", "Keep-Alive: -1",
    "Sec-WebSocket-Key1: x", "TE: trailers", "Trailer: Content-Length", "User-Agent: " + "\xe4" * 500,
]  # fmt: skip


async def test_no_header_is_a_bug_of_ours(farebox_with_shop: Farebox) -> None:
    farebox = farebox_with_shop
    await farebox.publish("dear")
    for fields in HOSTILE_FIELDS:
        for method, path in (("GET", f"{PATH}/x"), ("POST", "/publishers/dear/x"), ("POST", "/auth/agent")):
            more = "" if "Connection" in fields else "\r\nConnection: close"
            head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n{fields}{more}\r\n\r\n{{}}"
            answer = await send(farebox.origin, head.encode("latin-1"))
            found = [status for status in statuses(answer) if status != 100]
            assert len(found) == 1, (fields, answer)
            assert 200 <= found[0] < 500, (fields, answer)


@pytest.mark.parametrize("slug", ["shop", "dear"])
async def test_a_body_that_breaks_halfway_is_no_bug_and_costs_nothing(farebox: Farebox, slug: str) -> None:
    await farebox.publish(slug, price_per_call="0" if slug == "shop" else "0.25")
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    for path in (f"/publishers/{slug}/x", "/auth/agent"):
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {account.key}\r\n"
        async with connected(farebox.origin) as (reader, writer):
            writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n".encode())
            await asyncio.sleep(0.2)
            writer.write(b"zz\r\n")
            async with asyncio.timeout(30):
                answer = await reader.read()
        assert statuses(answer) == [400], answer
        async with connected(farebox.origin) as (_, writer):
            writer.write(f"{head}Content-Length: 100\r\n\r\nbody".encode())
            await asyncio.sleep(0.2)
    await asyncio.sleep(0.3)
    assert await farebox.balance(account) == DOLLAR
    assert farebox.upstream.bodies == []
    assert await farebox.is_sound()


async def test_a_claimed_payment_and_a_broken_body_is_no_bug(farebox: Farebox) -> None:
    """The body is read and hashed before a payment is claimed."""
    shop = await farebox.publish()
    challenge = await farebox.agent.ask("POST", f"{shop}/x")
    signed = farebox.agent.sign(challenge)
    head = f"POST {PATH}/x HTTP/1.1\r\nHost: a\r\nPAYMENT-SIGNATURE: {signed}\r\n"
    async with connected(farebox.origin) as (reader, writer):
        writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n".encode())
        await asyncio.sleep(0.2)
        writer.write(b"zz\r\n")
        async with asyncio.timeout(30):
            assert statuses(await reader.read()) == [400]
    assert farebox.upstream.seen == []
    reply = await farebox.agent.ask("POST", f"{shop}/x", headers={"PAYMENT-SIGNATURE": signed})
    assert reply.status == 200


async def test_an_unknown_and_an_inactive_publisher_look_the_same(farebox: Farebox) -> None:
    shop = await farebox.publish("closed")
    publisher_id = (await farebox.agent.ask("GET", shop)).json["data"]["id"]
    await farebox.agent.ask(
        "DELETE",
        f"{farebox.origin}/organizations/default/publishers/{publisher_id}",
        headers=farebox.publisher.headers,
    )
    await asyncio.sleep(1)
    unknown = f"{farebox.origin}/publishers/never-was"
    for method, path in (("GET", "/x"), ("POST", "/x"), ("POST", ""), ("GET", ""), ("HEAD", "/x")):
        one, other = [await farebox.agent.ask(method, each + path) for each in (shop, unknown)]
        assert (one.status, other.status) == (404, 404)
        assert one.text.replace("closed", "never-was") == other.text


async def test_head_is_settled_once_and_its_payment_buys_no_get(farebox: Farebox) -> None:
    shop = await farebox.publish(price_per_get="0.25", price_per_call=None)
    challenge = await farebox.agent.ask("HEAD", f"{shop}/x")
    assert (challenge.status, challenge.offers[0]["amount"]) == (402, str(DOLLAR // 4))
    paid = {"PAYMENT-SIGNATURE": farebox.agent.sign(challenge)}
    first = await farebox.agent.ask("HEAD", f"{shop}/x", headers=paid)
    assert (first.status, first.text) == (200, "")
    again = await farebox.agent.ask("HEAD", f"{shop}/x", headers=paid)
    assert (again.status, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert (await farebox.agent.ask("GET", f"{shop}/x", headers=paid)).status == 409
    assert [seen.method for seen in farebox.upstream.seen] == ["HEAD"]
    assert await farebox.pool.fetchval("SELECT count(*) FROM payments") == 1
