"""Attacks on x402 that have been published, each with the rule that stops it here."""

import asyncio
import json

from aiohttp import web

from control.agent.client import decode, encode
from control.demo import token
from tests.paths.conftest import DOLLAR, Farebox


async def test_an_upstream_that_takes_longer_than_a_payment_lasts_gives_nothing_away(
    farebox: Farebox,
) -> None:
    """Denial of settlement: the payer signs for a few seconds only, and asks for something slow."""

    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(7.5)
        return web.Response(text="the secret")

    farebox.upstream.handler = slow
    url = await farebox.publish() + "/slow"
    challenge = await farebox.agent.ask("GET", url)
    required = decode(challenge.headers["PAYMENT-REQUIRED"])
    required["accepts"][0]["maxTimeoutSeconds"] = 7
    short = type(challenge)(402, {"PAYMENT-REQUIRED": encode(required)}, "")
    got = await farebox.agent.pay("GET", url, short)
    assert (got.status, "the secret" in got.text, got.payment["success"]) == (402, False, False)
    assert await farebox.pool.fetchval("SELECT state FROM payments") == "void"
    assert await farebox.chain.balance(farebox.token, farebox.payer) == 10 * DOLLAR
    assert await farebox.earned() == (0, 0)


async def test_no_shared_cache_may_keep_what_was_paid_for_or_the_price(farebox: Farebox) -> None:
    async def cacheable(request: web.Request) -> web.StreamResponse:
        return web.Response(text="dear", headers={"Cache-Control": "public, s-maxage=600, max-age=60"})

    farebox.upstream.handler = cacheable
    url = await farebox.publish() + "/a"
    assert (await farebox.agent.ask("GET", url)).headers["Cache-Control"] == "no-store"
    paid = await farebox.pay("GET", url)
    assert (paid.status, paid.headers["Cache-Control"]) == (200, "private, max-age=60")


async def test_what_a_caller_says_about_payments_reaches_no_upstream(farebox: Farebox) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        said = {"Settlement-Overrides": '{"amount": "0"}', "EXTENSION-RESPONSES": "e30="}
        return web.json_response(dict(request.headers), headers=said)

    farebox.upstream.handler = echo
    url = await farebox.publish() + "/a"
    forged = {
        "Settlement-Overrides": '{"amount": "0"}', "PAYMENT-RESPONSE": "e30=", "PAYMENT-REQUIRED": "e30=",
        "X-PAYMENT-RESPONSE": "e30=", "X-Payment-Verified": "true", "SIGN-IN-WITH-X": "e30=",
        "X_PAYMENT": "e30=", "PAYMENT_SIGNATURE": "e30=",
    }  # fmt: skip
    got = await farebox.pay("GET", url, headers=forged)
    assert (got.status, got.payment["amount"]) == (200, str(DOLLAR // 4))
    seen = " ".join(json.loads(got.text)).lower().replace("_", "-")
    assert not any(word in seen for word in ("payment", "settlement", "sign-in-with"))
    assert not {"Settlement-Overrides", "EXTENSION-RESPONSES"} & got.headers.keys()


async def test_two_payments_in_one_header_are_a_bad_request(farebox: Farebox) -> None:
    url = await farebox.publish() + "/a"
    one = farebox.agent.sign(await farebox.agent.ask("GET", url))
    for value in (f"{one}, {one}", f"{one},{one}", f"{one}{one}"):
        got = await farebox.agent.ask("GET", url, headers={"PAYMENT-SIGNATURE": value})
        assert (got.status, got.json["errors"][0]["pointer"]) == (400, "header/PAYMENT-SIGNATURE")
    assert await farebox.pool.fetchval("SELECT count(*) FROM payments") == 0


async def test_a_payment_longer_than_servers_take_by_default_is_read(farebox: Farebox) -> None:
    url = await farebox.publish() + "/a"
    payment = decode(farebox.agent.sign(await farebox.agent.ask("GET", url)))
    long = encode({**payment, "extensions": {"of-somebody-else": {"info": "x" * 15_000, "schema": {}}}})
    assert len(long) > 2 * 8190
    assert (await farebox.agent.ask("GET", url, headers={"PAYMENT-SIGNATURE": long})).status == 200


async def test_what_is_paid_for_is_named_by_the_settings_and_not_by_the_request(farebox: Farebox) -> None:
    url = await farebox.publish() + "/a"
    poisoned = {
        "Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher",
        "Forwarded": "host=evil.example",
    }  # fmt: skip
    asked = await farebox.agent.ask("GET", url, headers=poisoned)
    assert decode(asked.headers["PAYMENT-REQUIRED"])["resource"]["url"] == url
    assert "evil.example" not in asked.text
    paid = await farebox.agent.pay("GET", url, asked, headers=poisoned)
    assert paid.status == 200
    seen = farebox.upstream.seen[-1].headers
    assert "evil.example" not in " ".join(seen.values())


async def test_a_payer_that_moves_its_money_away_again_and_again_is_refused_before_the_upstream_is_called(
    farebox: Farebox,
) -> None:
    """Each time the upstream works for nothing, and a transfer that reverts costs the facilitator gas."""
    url = await farebox.publish() + "/a"
    payer, elsewhere = farebox.chain.accounts[2], farebox.chain.accounts[4]
    calls: list[str] = []

    async def moves(request: web.Request) -> web.StreamResponse:
        calls.append(request.path)
        held = await farebox.chain.balance(farebox.token, payer.address)
        await farebox.chain.transact(farebox.token, token.transfer(elsewhere.address, held), sender=payer)
        return web.Response(text="the secret")

    async def stays(request: web.Request) -> web.StreamResponse:
        calls.append(request.path)
        return web.Response(text="the secret")

    async def attack(times: int) -> list[int]:
        farebox.upstream.handler = moves
        statuses = []
        for _ in range(times):
            await farebox.chain.mint(farebox.token, payer.address, DOLLAR)
            statuses.append((await farebox.pay("GET", url)).status)
        return statuses

    assert await attack(4) == [402] * 4
    farebox.upstream.handler = stays
    await farebox.chain.mint(farebox.token, payer.address, DOLLAR)
    assert (await farebox.pay("GET", url)).status == 200
    # One that settles makes good for those before it.
    assert await attack(7) == [402] * 5 + [429] * 2
    assert len(calls) == 10
    farebox.upstream.handler = stays
    refused = await farebox.pay("GET", url)
    assert (refused.status, refused.json["code"], refused.headers["Retry-After"]) == (
        429,
        "payer-failing",
        "3600",
    )
    assert "the secret" not in refused.text
    assert len(calls) == 10
    await farebox.pool.execute("UPDATE payer_failures SET failed_at = failed_at - interval '1 hour'")
    assert (await farebox.pay("GET", url)).status == 200
    assert await farebox.pool.fetchval("SELECT count(*) FROM payer_failures") == 0
