"""Publishers under ``x402_passthrough``, whose upstream is another Farebox and asks for its own price."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiohttp import ClientSession, web
from eth_account import Account as Key
from x402 import x402Client
from x402.http import decode_payment_required_header, encode_payment_signature_header
from x402.mechanisms.evm.exact import ExactEvmScheme
from x402.mechanisms.evm.signers import EthAccountSigner
from x402.schemas import PaymentRequired

from control.agent.client import Reply, decode, encode
from gateway.kit import sql
from tests.paths.conftest import DOLLAR, Account, Farebox, serving, settings_of
from tests.paths.test_pay_command import typed
from tests.waiting import until

PRICE = DOLLAR // 4
PAID_CALL = "X-PAYMENT-UPSTREAM"


@dataclass(slots=True)
class Resale:
    """A Farebox whose publisher is behind another one, ``far``, which sells what ``far.upstream`` answers."""

    near: Farebox
    far: Farebox
    far_shop: str
    shop: str = ""

    async def ask(self, method: str = "GET", path: str = "/a", **more: Any) -> Reply:
        return await self.near.agent.ask(method, self.shop + path, **more)

    @property
    def calls(self) -> int:
        return len(self.far.upstream.seen)

    async def uses(self) -> list[tuple[Any, ...]]:
        rows = await self.near.pool.fetch("SELECT identity, used_at IS NOT NULL, fee FROM upstream_payments")
        return [tuple(row)[1:] for row in rows]


@pytest.fixture
async def far(farebox: Farebox, server: str, template: str, valkey: str) -> AsyncIterator[Farebox]:
    """Another installation, with a database of its own and another wallet for what it is paid."""
    name = f"far_{uuid4().hex}"
    admin = await asyncpg.connect(server)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    chain = farebox.chain
    network = {
        "pay_to": chain.accounts[4].address, "facilitator_key": "0x" + bytes(chain.accounts[6].key).hex(),
    }  # fmt: skip
    dsn = server.replace("/postgres?", f"/{name}?")
    settings = settings_of(dsn, valkey, chain, farebox.token, network=network)
    async with sql.create_pool(server, database=name, size_max=4) as pool, serving(settings) as origin:
        far = replace(
            farebox, origin=origin, settings=settings, pool=pool, publisher=Account(uuid4(), ""),
            platform_wallet=chain.accounts[4].address,
        )  # fmt: skip
        far.publisher = await far.sign_up()
        yield far
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
def terms() -> dict[str, Any]:
    """What a test's publisher takes: a tenth of what the upstream is paid."""
    return {"gateway_fee_percent": "10"}


@pytest.fixture
async def resale(farebox: Farebox, far: Farebox, terms: dict[str, Any]) -> Resale:
    resale = Resale(farebox, far, await far.publish("weather"))
    free = {"price_per_call": None, "billing_model": "x402_passthrough", "api_url": resale.far_shop}
    resale.shop = await farebox.publish("resold", **{**free, **terms})
    return resale


async def official(farebox: Farebox, header: str) -> str:
    """A payment for the first of these offers, as the official client signs it."""
    required = decode_payment_required_header(header)
    assert isinstance(required, PaymentRequired)
    client = x402Client().set_spend_controls({"allowed_assets": True})
    client.register("eip155:*", ExactEvmScheme(EthAccountSigner(Key.from_key(farebox.agent.private_key))))
    return encode_payment_signature_header(await client.create_payment_payload(required))


async def for_upstream(farebox: Farebox, challenge: Reply) -> str:
    return await official(farebox, challenge.headers["PAYMENT-REQUIRED-UPSTREAM"])


async def for_fee(farebox: Farebox, challenge: Reply) -> str:
    return await official(farebox, challenge.headers["PAYMENT-REQUIRED"])


async def test_a_caller_pays_the_upstream_and_the_gateway_in_one_call(resale: Resale) -> None:
    near, far = resale.near, resale.far
    asked = await resale.ask(path="/a?b=1")
    assert (asked.status, asked.json["code"]) == (402, "upstream-payment-required")
    assert "X-PAYMENT-UPSTREAM" in asked.json["detail"]
    assert asked.json["upstream_payment_header"] == PAID_CALL
    assert [one["x402Version"] for one in asked.json["upstream_offers"]] == [2, 1]
    # What the upstream itself would have said, to the letter.
    theirs = await near.agent.ask("GET", f"{resale.far_shop}/a?b=1")
    assert asked.headers["PAYMENT-REQUIRED-UPSTREAM"] == theirs.headers["PAYMENT-REQUIRED"]
    assert asked.json["upstream_offers"][0] == decode(theirs.headers["PAYMENT-REQUIRED"])
    assert asked.json["upstream_offers"][1]["accepts"] == theirs.json["accepts"]
    assert [one["fee"] for one in asked.json["gateway_fees"]] == ["0.025", "0.025"][:1]
    assert (asked.offers[0]["amount"], len(asked.headers["PAYMENT-REQUIRED"]) < 8000) == ("25000", True)
    assert resale.calls == 0

    paid = {
        PAID_CALL: await for_upstream(near, asked), "PAYMENT-SIGNATURE": await for_fee(near, asked),
    }  # fmt: skip
    got = await resale.ask(path="/a?b=1", headers=paid)
    assert (got.status, got.json["path"]) == (200, "/a?b=1"), got.text
    assert (got.payment["amount"], decode(got.headers["PAYMENT-RESPONSE-UPSTREAM"])["amount"]) == (
        "25000",
        "250000",
    )
    assert (got.headers["X-Farebox-Charged"], resale.calls) == ("0.025 TUSD", 1)
    assert "private" in got.headers["Cache-Control"]
    assert await near.chain.balance(near.token, near.platform_wallet) == PRICE // 10
    assert await near.chain.balance(near.token, far.platform_wallet) == PRICE
    assert (await near.earned(), await far.earned()) == ((22_500, 2_500), (225_000, 25_000))
    assert await near.is_sound()
    assert await far.is_sound()
    assert await resale.uses() == [(True, "paid")]

    # The same again is the same answer, by either payment alone, and nothing is sent or charged.
    again = await resale.ask(path="/a?b=1", headers=paid)
    assert (again.status, again.text, again.headers["Idempotent-Replayed"]) == (200, got.text, "true")
    assert resale.calls == 1


async def test_a_balance_pays_the_fee(resale: Resale) -> None:
    agent = await resale.near.sign_up()
    await resale.near.fund(agent, DOLLAR)
    asked = await resale.ask(headers=agent.headers)
    paid = {**agent.headers, PAID_CALL: await for_upstream(resale.near, asked)}
    got = await resale.ask(headers=paid)
    assert (got.status, got.headers["X-Farebox-Charged"]) == (200, "0.025 TUSD"), got.text
    assert await resale.near.balance(agent) == DOLLAR - PRICE // 10
    again = await resale.ask(headers=paid)
    assert (again.status, again.text, again.headers["Idempotent-Replayed"]) == (200, got.text, "true")
    assert await resale.near.balance(agent) == DOLLAR - PRICE // 10
    assert resale.calls == 1
    other = await resale.ask(path="/other", headers=paid)
    assert (other.status, other.json["code"]) == (409, "upstream-payment-bound-elsewhere")
    assert (await resale.near.balance(agent), resale.calls) == (DOLLAR - PRICE // 10, 1)


async def test_a_stranger_is_not_given_what_a_public_payment_bought(resale: Resale) -> None:
    agent, stranger = await resale.near.sign_up(), await resale.near.sign_up()
    for one in (agent, stranger):
        await resale.near.fund(one, DOLLAR)
    asked = await resale.ask(headers=agent.headers)
    payment = {PAID_CALL: await for_upstream(resale.near, asked)}
    assert (await resale.ask(headers={**agent.headers, **payment})).status == 200

    async def is_from_elsewhere() -> bool:
        """As far as the gateway remembers, once it does: an answer is kept behind it."""
        done = await resale.near.pool.execute("UPDATE answers SET senders = array['10.9.9.9']")
        return bool(done == "UPDATE 1")

    await until(is_from_elsewhere)
    got = await resale.ask(headers={**stranger.headers, **payment})
    assert (got.status, got.json["code"]) == (409, "upstream-payment-used")
    assert (await resale.near.balance(stranger), resale.calls) == (DOLLAR, 1)


@pytest.mark.parametrize("terms", [{}])
async def test_without_a_fee_only_the_upstream_is_paid(resale: Resale) -> None:
    asked = await resale.ask()
    assert (asked.status, asked.offers, asked.json["gateway_fees"]) == (402, [], [])
    got = await resale.ask(headers={PAID_CALL: await for_upstream(resale.near, asked)})
    assert (got.status, "X-Farebox-Charged" in got.headers) == (200, False), got.text
    assert "private" in got.headers["Cache-Control"]
    assert decode(got.headers["PAYMENT-RESPONSE-UPSTREAM"])["success"] is True


@pytest.mark.parametrize("terms", [{"gateway_fee_percent": "2.5", "price_per_call": "0.01"}])
async def test_a_fixed_fee_and_a_share_add_up(resale: Resale) -> None:
    asked = await resale.ask("POST", body={"n": 1})
    assert [one["fee_atomic"] for one in asked.json["gateway_fees"]] == ["16250"]
    near = resale.near
    paid = {PAID_CALL: await for_upstream(near, asked), "PAYMENT-SIGNATURE": await for_fee(near, asked)}
    got = await resale.ask("POST", headers=paid, body={"n": 1})
    assert (got.status, got.headers["X-Farebox-Charged"]) == (200, "0.01625 TUSD"), got.text
    assert resale.far.upstream.bodies == [b'{"n": 1}']


async def test_a_payment_of_version_1_goes_where_the_upstream_expects_it(resale: Resale) -> None:
    agent = await resale.near.sign_up()
    await resale.near.fund(agent, DOLLAR)
    asked = await resale.ask()
    two = decode(await for_upstream(resale.near, asked))
    one = encode({
        "x402Version": 1, "scheme": "exact", "network": two["accepted"]["network"], "payload": two["payload"],
    })  # fmt: skip
    got = await resale.ask(headers={**agent.headers, PAID_CALL: one})
    assert (got.status, got.headers["X-Farebox-Charged"]) == (200, "0.025 TUSD"), got.text
    assert decode(got.headers["X-PAYMENT-RESPONSE-UPSTREAM"])["success"] is True


async def test_a_payment_that_the_upstream_refuses_costs_nothing_and_can_be_sent_again(
    resale: Resale,
) -> None:
    near = resale.near
    asked = await resale.ask()
    payment = decode(await for_upstream(near, asked))
    payment["payload"]["signature"] = "0x" + "11" * 65
    fee = await for_fee(near, asked)
    got = await resale.ask(headers={PAID_CALL: encode(payment), "PAYMENT-SIGNATURE": fee})
    assert (got.status, got.json["error"]) == (402, "upstream_payment_refused")
    assert "PAYMENT-REQUIRED-UPSTREAM" in got.headers
    assert (await resale.uses(), resale.calls) == ([], 0)
    assert await near.chain.balance(near.token, near.platform_wallet) == 0
    # The fee's payment was not used and never will be; the one for the upstream is good once it is signed.
    paid = {PAID_CALL: await for_upstream(near, asked), "PAYMENT-SIGNATURE": await for_fee(near, got)}
    assert (await resale.ask(headers=paid)).status == 200


async def test_a_fee_without_the_upstreams_payment_is_not_taken(resale: Resale) -> None:
    asked = await resale.ask()
    got = await resale.ask(headers={"PAYMENT-SIGNATURE": await for_fee(resale.near, asked)})
    assert (got.status, got.json["error"]) == (402, "upstream_payment_required")
    assert await resale.near.pool.fetchval("SELECT count(*) FROM payments") == 0


async def test_an_upstreams_payment_without_the_fee_stays_here(resale: Resale) -> None:
    asked = await resale.ask()
    payment = {PAID_CALL: await for_upstream(resale.near, asked)}
    got = await resale.ask(headers=payment)
    assert (got.status, got.json["error"], got.offers[0]["amount"]) == (402, "payment_required", "25000")
    # Nor for less than the fee on what it pays.
    cheap = decode(asked.headers["PAYMENT-REQUIRED"])
    cheap["accepts"][0]["amount"] = "1"
    one = await official(resale.near, encode(cheap))
    assert (await resale.ask(headers={**payment, "PAYMENT-SIGNATURE": one})).status == 402
    assert (
        await resale.uses(),
        await resale.far.pool.fetchval("SELECT count(*) FROM payments"),
    ) == ([], 0)


async def test_one_payment_is_with_the_upstream_once_however_often_it_is_sent_at_once(
    resale: Resale,
) -> None:
    near, agents = resale.near, [await resale.near.sign_up() for _ in range(3)]
    for one in agents:
        await near.fund(one, DOLLAR)

    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.5)
        return web.json_response({"done": True})

    resale.far.upstream.handler = slow
    payment = decode(await for_upstream(near, await resale.ask()))
    # The same payment in other words: what is spent is the payer's nonce.
    spellings = [payment, {**payment, "note": "x"}, {**payment, "payload": {**payment["payload"], "y": [1]}}]
    async with ClientSession() as session:
        many = replace(near.agent, session=session)
        got = await asyncio.gather(*(
            many.ask(
                "GET",
                f"{resale.shop}/a",
                headers={**agents[n % 3].headers, PAID_CALL: encode(spellings[n // 3])},
            )
            for n in range(9)
        ))  # fmt: skip
    assert {reply.status for reply in got} <= {200, 409}, [reply.text for reply in got]
    assert (resale.calls, await resale.uses()) == (1, [(True, "paid")])
    charged = [DOLLAR - await near.balance(one) for one in agents]
    assert sorted(charged) == [0, 0, PRICE // 10]
    assert await near.is_sound()


async def test_who_could_not_pay_the_fee_pays_it_later_for_the_answer_that_waits(
    resale: Resale,
) -> None:
    near, chain = resale.near, resale.near.chain
    asked = await resale.ask()
    paid = {PAID_CALL: await for_upstream(near, asked), "PAYMENT-SIGNATURE": await for_fee(near, asked)}

    async def draining(request: web.Request) -> web.StreamResponse:
        # The upstream's own price stays.
        await near.move(chain.accounts[2], chain.accounts[7].address, 10 * DOLLAR - PRICE)
        return web.json_response({"precious": True})

    resale.far.upstream.handler = draining
    got = await resale.ask(headers=paid)
    assert (got.status, "precious" in got.text) == (402, False)
    assert await resale.uses() == [(True, "failed")]
    # Neither for nothing, nor twice.
    poor = await near.sign_up()
    assert (await resale.ask(headers={**poor.headers, PAID_CALL: paid[PAID_CALL]})).status == 402
    await near.fund(poor, DOLLAR)
    for _ in range(2):
        again = await resale.ask(headers={**poor.headers, PAID_CALL: paid[PAID_CALL]})
        assert (again.status, again.json) == (200, {"precious": True}), again.text
    assert (resale.calls, await near.balance(poor)) == (1, DOLLAR - PRICE // 10)
    assert await resale.uses() == [(True, "paid")]
    assert await near.is_sound()


@asynccontextmanager
async def sold(farebox: Farebox, answer: Any, **terms: Any) -> AsyncIterator[str]:
    """A publisher whose upstream is not a Farebox, and may be anything."""
    farebox.upstream.handler = answer
    free = {"price_per_call": None, "billing_model": "x402_passthrough", "gateway_fee_percent": "1"}
    yield await farebox.publish(**{**free, **terms})


def offer(farebox: Farebox, **more: Any) -> dict[str, Any]:
    two = {
        "scheme": "exact", "network": farebox.chain.network, "amount": "1000", "asset": farebox.token,
        "payTo": farebox.chain.accounts[4].address, "maxTimeoutSeconds": 60,
        "extra": {"name": "Test Dollar", "version": "1"},
    }  # fmt: skip
    return {**two, **more}


def required(*offers: Any, version: int = 2) -> dict[str, Any]:
    return {
        "x402Version": version,
        "error": "pay me",
        "resource": {"url": "https://x.example/"},
        "accepts": list(offers),
    }


DEEP = json.loads("[" * 200 + "]" * 200)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b""),
        ({}, b"<html>pay</html>"),
        ({}, b"[" * 70_000),
        ({}, b" " * 200_000),
        ({}, json.dumps({"x402Version": 1, "accepts": []}).encode()),
        ({}, json.dumps({"x402Version": 1, "accepts": [1]}).encode()),
        ({}, b'{"x402Version": 1, "accepts": "\xff"}'),
        ({}, json.dumps({"x402Version": 1, "accepts": [{"network": 1, "asset": None}]}).encode()),
        ({}, json.dumps({"x402Version": 1, "accepts": [{"network": "a", "asset": "", "e": DEEP}]}).encode()),
        ({"PAYMENT-REQUIRED": "e30="}, b""),
        ({"PAYMENT-REQUIRED": "%"}, b""),
        ({"PAYMENT-REQUIRED": "é", "PAYMENT-RESPONSE": "é"}, b""),
        ({"PAYMENT-REQUIRED": encode(required({"network": "eip155:5", "asset": "0x", "amount": "1"}))}, b""),
    ],
)  # fmt: skip
async def test_offers_that_make_no_sense_are_not_passed_on(
    farebox: Farebox, headers: dict[str, str], body: bytes
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=402, headers=headers, body=body)

    async with sold(farebox, answer) as shop:
        got = await farebox.agent.ask("GET", shop + "/a")
        assert (got.status, got.json["code"]) == (502, "upstream-offers-unreadable")


async def test_what_an_upstream_says_besides_offers_is_the_publishers(farebox: Farebox) -> None:
    one = offer(farebox, maxAmountRequired="1000", network="test", resource="https://x.example/")
    body = required(one, version=1) | {"balance": "the publisher's", "detail": "x"}

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=402, headers={"X-PAYMENT-RESPONSE": "abc"})

    async with sold(farebox, answer, gateway_fee_percent="0") as shop:
        got = await farebox.agent.ask("GET", shop + "/a")
        assert (got.status, got.headers["X-PAYMENT-RESPONSE-UPSTREAM"]) == (402, "abc")
        assert got.json["upstream_offers"] == [
            {n: v for n, v in body.items() if n not in ("balance", "detail")}
        ]
        assert "publisher's" not in got.text


async def test_many_offers_leave_our_header_readable(farebox: Farebox) -> None:
    many = [offer(farebox, amount=str(1000 + n)) for n in range(60)]

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(required(*many, version=1), status=402)

    async with sold(farebox, answer) as shop:
        got = await farebox.agent.ask("GET", shop + "/a")
        assert (got.status, len(got.json["upstream_offers"][0]["accepts"])) == (402, 60)
        assert len(got.headers["PAYMENT-REQUIRED"]) < 8000


async def test_what_the_upstream_gives_for_nothing_is_passed_on(farebox: Farebox) -> None:
    async with sold(farebox, None, price_per_call="1") as shop:
        got = await farebox.agent.ask("GET", shop + "/a")
        assert (got.status, "X-Farebox-Charged" in got.headers) == (200, False)
        # A connection has no second request to pay with.
        async with farebox.session.get(
            shop + "/a", headers={"Upgrade": "websocket", "Connection": "Upgrade"}
        ) as refused:
            assert refused.status == 403


def paid(farebox: Farebox, **more: Any) -> str:
    message = {"from": farebox.payer, "nonce": "0x" + "77" * 32, "value": "1000"}
    payload = {"signature": "0x00", "authorization": message}
    return encode({"x402Version": 2, "accepted": offer(farebox, **more), "payload": payload})


async def test_a_payment_for_an_upstream_that_takes_none_is_refused(farebox: Farebox) -> None:
    shop = await farebox.publish()
    got = await farebox.agent.ask("GET", shop + "/a", headers={PAID_CALL: paid(farebox)})
    assert (got.status, farebox.upstream.seen) == (400, [])


async def test_unclear_payments_for_an_upstream_are_refused(farebox: Farebox) -> None:
    async with sold(farebox, None) as shop:
        for value in ("garbage", paid(farebox, network="eip155:5"), paid(farebox, asset="0x" + "00" * 20)):
            got = await farebox.agent.ask("GET", shop + "/a", headers={PAID_CALL: value})
            assert (got.status, PAID_CALL in got.json["detail"]) == (400, True)
        twice = [(PAID_CALL, paid(farebox)), (PAID_CALL, paid(farebox))]
        async with farebox.session.get(shop + "/a", headers=twice) as refused:
            assert refused.status == 400
    assert farebox.upstream.seen == []


async def test_an_upstream_that_says_only_that_it_did_not_settle_is_believed(farebox: Farebox) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert "PAYMENT-SIGNATURE" in request.headers
        assert PAID_CALL not in request.headers
        return web.json_response({}, status=402, headers={"PAYMENT-RESPONSE": encode({"success": False})})

    agent = await farebox.sign_up()
    await farebox.fund(agent, DOLLAR)
    async with sold(farebox, answer) as shop:
        got = await farebox.agent.ask("GET", shop + "/a", headers={**agent.headers, PAID_CALL: paid(farebox)})
    assert (got.status, got.json["upstream_offers"], got.offers[0]["amount"]) == (402, [], "10")
    assert decode(got.headers["PAYMENT-RESPONSE-UPSTREAM"]) == {"success": False}
    assert await farebox.balance(agent) == DOLLAR


async def test_a_payment_with_an_upstream_that_fell_silent_waits_there(farebox: Farebox) -> None:
    """Nobody knows whether the upstream is still at it, so the payment is not sent again at once."""

    async def silent(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    agent = await farebox.sign_up()
    await farebox.fund(agent, DOLLAR)
    headers = {**agent.headers, PAID_CALL: paid(farebox)}
    async with sold(farebox, silent) as shop:
        assert (await farebox.agent.ask("GET", shop + "/a", headers=headers)).status == 502
        farebox.upstream.handler = None
        held = await farebox.agent.ask("GET", shop + "/a", headers=headers)
        assert (held.status, held.json["code"]) == (409, "upstream-payment-under-way")
        assert (len(farebox.upstream.seen), await farebox.balance(agent)) == (1, DOLLAR)
        # As after the process died that sent it: when no call of that time can be running, it is free.
        await farebox.pool.execute("UPDATE upstream_payments SET claimed_at = claimed_at - interval '1 hour'")
        assert (await farebox.agent.ask("GET", shop + "/a", headers=headers)).status == 200
    assert (len(farebox.upstream.seen), await farebox.balance(agent)) == (2, DOLLAR - 10)
    assert await farebox.is_sound()


async def test_the_fee_is_what_a_callers_maximum_is_held_against(farebox: Farebox) -> None:
    agent = await farebox.sign_up()
    await farebox.fund(agent, DOLLAR)
    headers = {**agent.headers, PAID_CALL: paid(farebox), "X-Max-Price": "0.000009"}
    async with sold(farebox, None) as shop:
        got = await farebox.agent.ask("GET", shop + "/a", headers=headers)
        assert (got.status, got.json["code"], farebox.upstream.seen) == (402, "price-above-max", [])
        keyed = {**headers, "X-Max-Price": "0.00001", "Idempotency-Key": "k"}
        first = await farebox.agent.ask("GET", shop + "/a", headers=keyed)
        # The key, or the payment, or both: it is the same call.
        for again in (keyed, {**agent.headers, PAID_CALL: paid(farebox)}):
            got = await farebox.agent.ask("GET", shop + "/a", headers=again)
            assert (got.status, got.text) == (200, first.text)
    assert (len(farebox.upstream.seen), await farebox.balance(agent)) == (1, DOLLAR - 10)


@pytest.mark.parametrize("is_fee_from_balance", [False, True])
async def test_the_command_line_pays_both_and_tells_both(resale: Resale, is_fee_from_balance: bool) -> None:
    near, far = resale.near, resale.far
    account = await near.sign_up()
    if is_fee_from_balance:
        await near.fund(account, DOLLAR)
    wallet = {"FAREBOX_PAY_KEY": "0x" + near.agent.private_key.hex(), "FAREBOX_API_KEY": account.key}
    url = f"{resale.shop}/a"
    price = (
        f"price: 0.25 TUSD on {near.chain.network} for its upstream, and 0.025 TUSD on {near.chain.network} "
        "for the gateway: 0.275 TUSD in all"
    )
    dry = await typed(url, "--dry-run", **wallet)
    assert (dry.result.exit_code, dry.out) == (0, ""), dry.err
    assert price in dry.err
    # Either would be cheap enough, and both together are not.
    dear = await typed(url, "--max-price", "0.2749", **wallet)
    assert "more than --max-price allows; nothing was paid" in dear.sorry
    assert "set FAREBOX_PAY_KEY; nothing was paid" in (await typed(url, FAREBOX_API_KEY=account.key)).sorry
    assert resale.calls == 0

    done = await typed(url, "--max-price", "0.275", **wallet)
    assert done.result.exit_code == 0, done.err
    assert json.loads(done.out.splitlines()[-1])["path"] == "/a"
    source = "balance" if is_fee_from_balance else "wallet 0x"
    assert f"paid: 0.025 TUSD, from {source}" in done.err
    assert "paid to its upstream: 0.25 TUSD, in transaction 0x" in done.err
    assert ("the balance does not pay the fee" in done.err) is not is_fee_from_balance
    assert (resale.calls, await near.chain.balance(near.token, far.platform_wallet)) == (1, PRICE)
    left = DOLLAR - PRICE // 10 if is_fee_from_balance else 0
    assert await near.balance(account) == left
    assert await near.is_sound()


@pytest.mark.parametrize("terms", [{}])
async def test_the_command_line_tells_what_went_to_whom(resale: Resale, terms: dict[str, Any]) -> None:
    near = resale.near
    wallet = {"FAREBOX_PAY_KEY": "0x" + near.agent.private_key.hex()}
    done = await typed(f"{resale.shop}/a", **wallet)
    assert done.result.exit_code == 0, done.err
    assert f"price: 0.25 TUSD on {near.chain.network} for its upstream, and no fee" in done.err
    assert "paid: nothing to the gateway" in done.err
    assert "paid to its upstream: 0.25 TUSD, in transaction 0x" in done.err

    await near.move(near.chain.accounts[2], near.chain.accounts[7].address, 10 * DOLLAR - PRICE)
    poor = await typed(f"{resale.shop}/b", **wallet)
    assert "answered 402: the upstream of resold did not take the payment" in poor.sorry
    assert "paid: nothing" in poor.err
    assert resale.calls == 1
