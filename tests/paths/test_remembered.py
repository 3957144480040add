"""What is remembered of a request holds no longer than what it follows from."""

import asyncio
import base64
import itertools
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from yarl import URL

from gateway.key_uses import KeyUses
from gateway.kit import ids
from gateway.metering.watch import Known
from gateway.plan import Plan
from gateway.snapshot import Snapshot
from gateway.types import Caller
from tests.paths.conftest import DOLLAR, Farebox
from tests.waiting import until

TIMES = 4
"""As often as it takes for nothing to be left to find out."""


async def test_a_request_that_comes_again_meets_what_is_published_now(farebox: Farebox) -> None:
    shop = await farebox.publish(price_per_call="0")
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    ask = farebox.agent.ask
    at = f"{farebox.origin}/organizations/default"

    async def status(method: str = "GET", **more: Any) -> int:
        return (await ask(method, f"{shop}/same?q=1", **more)).status

    async def statuses(**more: Any) -> list[int]:
        return [await status(**more) for _ in range(TIMES)]

    async def becomes(expected: int, **more: Any) -> None:
        async def is_so() -> bool:
            return await status(**more) == expected

        await until(is_so)
        assert await statuses(**more) == [expected] * TIMES

    assert await statuses() == [200] * TIMES
    body = {"method": "POST", "body": {"a": 1}}
    assert await statuses(**body) == [200] * TIMES
    assert [json.loads(one) for one in farebox.upstream.bodies if one] == [{"a": 1}] * TIMES
    # A price: strangers are asked for it at once, and a caller with a balance pays it for each call.
    listed = f"{at}/publishers/{(await ask('GET', shop)).json['data']['id']}"
    priced = {"asset_id": str(farebox.asset.id), "price_per_call": "0.01"}
    changed = await ask("PUT", f"{listed}/pricing", headers=farebox.publisher.headers, body=priced)
    assert changed.status == 200, changed.text
    await becomes(402)
    await becomes(402, **body)
    assert await statuses(headers=account.headers) == [200] * TIMES
    assert await statuses(**body, headers=account.headers) == [200] * TIMES
    assert await farebox.spent(account, DOLLAR) == 2 * TIMES * DOLLAR // 100
    # A key that is taken back.
    made = await ask("POST", f"{at}/api-keys", headers=account.headers, body={"name": "second"})
    key = made.json["data"]
    headers = {"Authorization": f"Bearer {key['api_key']}"}
    assert await statuses(headers=headers) == [200] * TIMES
    gone = await ask("DELETE", f"{at}/api-keys/{key['id']}", headers=account.headers)
    assert gone.status in (200, 204), gone.text
    await becomes(401, headers=headers)
    # A publisher that is gone.
    gone = await ask("DELETE", listed, headers=farebox.publisher.headers)
    assert gone.status in (200, 204), gone.text
    await becomes(404)
    await becomes(404, headers=account.headers)


async def test_callers_who_say_the_same_from_elsewhere_are_told_apart(farebox: Farebox) -> None:
    shop = await farebox.publish(price_per_call="0")
    url = URL(shop)
    request = f"POST {url.path}/same HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"

    async def call(address: str, number: int) -> dict[str, tuple[str, int]]:
        reader, writer = await asyncio.open_connection(url.host, url.port, local_addr=(address, 0))
        made = {}
        for _ in range(TIMES):
            writer.write(request.encode() + b"%04d" % number)
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            (length,) = re.findall(r"(?i)content-length: (\d+)", head)
            await reader.readexactly(int(length))
            (call_id,) = re.findall(r"X-Farebox-Call-Id: (\S+)", head)
            made[call_id] = address, number
        writer.close()
        return made

    callers = [(f"127.0.0.{1 + number % 3}", number) for number in range(30)]
    # All at once they wait for the limits, and go on in any order.
    made = await asyncio.gather(*(call(*one) for one in callers))
    seen = zip(farebox.upstream.seen, farebox.upstream.bodies, strict=True)
    told = {
        ask.headers["X-Farebox-Call-Id"]: (ask.headers["X-Forwarded-For"], int(body)) for ask, body in seen
    }
    assert len(told) == 30 * TIMES
    assert told == {call_id: who for one in made for call_id, who in one.items()}


async def test_a_payment_is_its_own_calls_and_nobody_elses(farebox: Farebox) -> None:
    shop = await farebox.publish()
    url = URL(shop + "/same")
    challenge = await farebox.agent.ask("GET", str(url))
    one, two, three = [farebox.agent.sign(challenge) for _ in range(3)]
    reader, writer = await asyncio.open_connection(url.host, url.port)

    async def call(*fields: str) -> str:
        lines = "".join(f"{field}\r\n" for field in ("Host: a", *fields, "Accept: */*"))
        writer.write(f"GET {url.path} HTTP/1.1\r\n{lines}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        (length,) = re.findall(r"(?i)content-length: (\d+)", head)
        await reader.readexactly(int(length))
        return head.split()[1] + (" again" if "Idempotent-Replayed" in head else "")

    told = [
        await call(*fields)
        for fields in (
            [], [f"PAYMENT-SIGNATURE: {one}"], [], [f"payment-signature: {two}"], [],
            [f"PAYMENT-SIGNATURE: {one}"], ["PAYMENT-SIGNATURE: nonsense"], ["X-PAYMENT: nonsense"],
            [f"PAYMENT-SIGNATURE: {three}", f"X-PAYMENT: {three}"],
            [f"PAYMENT-SIGNATURE: {three}", f"PAYMENT-SIGNATURE: {three}"],
            ["PAYMENT-SIGNATURE: "], [f"Payment-Signature:{three}"], [],
        )
    ]  # fmt: skip
    writer.close()
    assert told == [
        "402", "200", "402", "200", "402",
        "200 again", "400", "400",
        "400",
        "400",
        "400", "200", "402",
    ]  # fmt: skip
    assert len(farebox.upstream.seen) == 3
    assert not any("PAYMENT" in name.upper() for ask in farebox.upstream.seen for name in ask.headers)
    assert await farebox.is_sound()


@pytest.mark.parametrize(
    ("expires_in", "editions_later", "holds"),
    [
        (None, 0, True),
        (60, 0, True),
        (0, 0, False),   # the key was good when the plan was made
        (None, 1, False),
    ],
)  # fmt: skip
def test_a_plan_holds_as_long_as_its_key_and_what_is_published(
    expires_in: int | None, editions_later: int, holds: bool
) -> None:
    ends = None if expires_in is None else datetime.now(UTC) + timedelta(seconds=expires_in)
    caller = Caller(ids.new(), ids.new(), "live", expires_at=ends)
    uses = KeyUses()
    plan = Plan(7, cast(Any, None), cast(Any, None), caller, Known({}))
    snapshot = cast(Snapshot, SimpleNamespace(edition=7 + editions_later, uses=uses))
    assert plan.holds(snapshot) is holds
    # A key that is used again was used.
    assert uses.seen == ({caller.key_id} if holds else set())


async def test_ever_new_queries_are_each_asked_as_they_are(farebox: Farebox) -> None:
    shop = await farebox.publish(price_per_call="0")
    account = await farebox.sign_up()
    url = URL(shop)
    reader, writer = await asyncio.open_connection(url.host, url.port)

    async def call(query: str, key: str = account.key, *, method: str = "GET", path: str = "/find") -> int:
        fields = f"Host: a\r\nAuthorization: Bearer {key}\r\nAccept: */*\r\n"
        writer.write(f"{method} {url.path}{path}{query} HTTP/1.1\r\n{fields}\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        if method != "HEAD" and (length := re.findall(r"(?i)content-length: (\d+)", head)):
            await reader.readexactly(int(length[0]))
        return int(head.split()[1])

    asked = ["?q=1", "?q=2", "", "?q=2", "?q=" + "x" * 50, "?", "?a=/b?c", "?q=1", "?%41=%zz", ""]
    assert [await call(one) for one in asked] == [200] * len(asked)
    assert [await call(one, method="HEAD") for one in asked] == [200] * len(asked)
    assert [await call(one, path="/other") for one in asked[:3]] == [200] * 3
    told = [one.rel_url.raw_path_qs for one in farebox.upstream.seen]
    expected = [one.removesuffix("?") if one == "?" else one for one in asked]
    assert told == [f"/find{one}" for one in expected * 2] + [f"/other{one}" for one in expected[:3]]
    # What a query must not have, it must not have behind one that was fine either.
    assert await call(f"?key={account.key}") == 400
    assert await call("?q=3", "fb_live_nobody") == 401
    assert await call("?q=3") == 200
    assert await call("?q=\xfc") == 400
    writer.close()


async def test_ever_new_paths_are_the_same_callers_for_as_long_as_it_may_call(farebox: Farebox) -> None:
    """Whose fields these are was found out for another path."""
    free = await farebox.publish(price_per_call="0")
    telling = {"ownership_tracking_enabled": True, "resource_id_url_pattern": "/things/:resourceId"}
    known = await farebox.publish(slug="known", price_per_call="0", **telling)
    account, ask = await farebox.sign_up(), farebox.agent.ask
    keys = f"{farebox.origin}/organizations/default/api-keys"
    made = await ask("POST", keys, headers=account.headers, body={"name": "second"})
    second = {"Authorization": f"Bearer {made.json['data']['api_key']}"}
    paths = itertools.count()

    async def statuses(shop: str, headers: Mapping[str, str]) -> list[int]:
        return [(await ask("GET", f"{shop}/{next(paths)}", headers=headers)).status for _ in range(TIMES)]

    async def is_refused() -> bool:
        return set(await statuses(free, second)) == {401}

    # A stranger is nobody to a publisher that tells its callers apart, also after it was served elsewhere.
    assert await statuses(free, {}) == [200] * TIMES
    assert await statuses(known, {}) == [401] * TIMES
    assert await statuses(known, account.headers) == [200] * TIMES
    assert await statuses(free, second) == [200] * TIMES
    assert await statuses(free, account.headers) == [200] * TIMES
    assert (await ask("DELETE", f"{keys}/{made.json['data']['id']}", headers=account.headers)).status < 300
    await until(is_refused)
    assert await statuses(free, account.headers) == [200] * TIMES


async def test_a_payment_and_a_key_are_for_one_query(farebox: Farebox) -> None:
    shop = await farebox.publish()
    account = await farebox.sign_up()
    await farebox.fund(account, 2 * DOLLAR)
    ask = farebox.agent.ask
    for at in range(TIMES):
        assert (await ask("GET", f"{shop}/find?q={at}")).status == 402
        assert (await ask("GET", f"{shop}/find?q={at}", headers=account.headers)).status == 200
    headers = {**account.headers, "Idempotency-Key": "a-key-of-more-than-sixteen"}
    told = [(await ask("GET", f"{shop}/find?q={at}", headers=headers)).status for at in (7, 7, 8)]
    assert told == [200, 200, 409]
    challenge = await ask("GET", f"{shop}/find?q=9")
    offered = json.loads(base64.b64decode(challenge.headers["PAYMENT-REQUIRED"]))
    assert offered["resource"]["url"].endswith("/find?q=9")
    paid = {"PAYMENT-SIGNATURE": farebox.agent.sign(challenge)}
    again = [(await ask("GET", f"{shop}/find?q={at}", headers=paid)).status for at in (9, 9, 10)]
    assert again == [200, 200, 409]
    assert [one.rel_url.query_string for one in farebox.upstream.seen[TIMES:]] == ["q=7", "q=9"]
    assert await farebox.is_sound()


QUERIES = (
    b"", b"?", b"?a=1", b"?&&", b"?%", b"?%zz%00", b"?a=b=c?d", b"?/../x", b"?a=//h/x", b"?HTTP/1.1",
    b"?{}|^`\\\"'", b"?key=mine&a", b"?k%65y=mine", b"?a b", b"?a\tb", b"?\x7f", b"?\xc3\xa4", b"?\xff",
    b"?#a", b"?a#", b"?a\rb", b"?" + b"z" * 1500, b"?" + b"z" * 5000,
)  # fmt: skip


@pytest.mark.parametrize(
    "published",
    [
        {"api_key_header": "X-Key"},
        {"api_key_query_param": "key"},
        {"api_url": "/base?x=1"},
        {"api_url": "?x=1"},
    ],
    ids=str,
)
async def test_a_query_behind_another_is_answered_as_it_is_by_itself(
    farebox: Farebox, published: dict[str, str]
) -> None:
    own = {"api_url": farebox.upstream.url + published.get("api_url", "/base/")}
    secret = {"upstream_api_key": "s3cret&c"} if "api_url" not in published else {}
    url = URL(await farebox.publish(price_per_call="0.01", **{**published, **own, **secret}))
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)

    async def call(method: str, query: bytes, more: str) -> tuple[object, ...]:
        reader, writer = await asyncio.open_connection(url.host, url.port)
        fields = f"Host: a\r\nAuthorization: Bearer {account.key}\r\n{more}\r\n"
        writer.write(f"{method} {url.path}/x".encode() + query + f" HTTP/1.1\r\n{fields}".encode())
        seen = len(farebox.upstream.seen)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        writer.close()
        sent = [(one.raw_path, one.headers.get("X-Key")) for one in farebox.upstream.seen[seen:]]
        return head.split()[1], re.findall(r"X-Farebox-Charged: (.*)\r", head), sent

    for method in ("GET", "HEAD"):
        for _ in range(TIMES):
            assert (await call(method, b"?q=1", ""))[0] == "200"
        for number, query in enumerate(QUERIES):
            # With fields that nobody sent before, nothing is remembered of it.
            assert await call(method, query, "") == await call(method, query, f"X-New: {number}\r\n"), query
