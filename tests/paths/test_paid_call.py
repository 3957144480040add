"""Stories of a paid call, told by the agent and checked in the ledger, at the upstream and on the chain."""

import asyncio
import gzip
import time
from uuid import UUID

from aiohttp import web

from control.agent.client import decode, encode
from control.agent.wallet import sign_payment
from tests.paths.conftest import DOLLAR, Account, Farebox

QUARTER = DOLLAR // 4


async def test_an_agent_is_asked_to_pay_pays_and_gets_the_answer(farebox: Farebox) -> None:
    url = await farebox.publish() + "/weather?city=oslo"
    challenge = await farebox.agent.ask("GET", url)
    assert challenge.status == 402
    assert challenge.headers["Cache-Control"] == "no-store"
    assert challenge.offers[0]["amount"] == str(QUARTER)
    # The same offer for clients of version 1, in the body.
    assert challenge.json["x402Version"] == 1
    assert challenge.json["accepts"][0]["maxAmountRequired"] == str(QUARTER)
    assert farebox.upstream.seen == []

    paid = await farebox.agent.pay("GET", url, challenge)
    assert (paid.status, paid.json["path"]) == (200, "/weather?city=oslo")
    assert "private" in paid.headers["Cache-Control"]
    assert paid.payment["success"] is True
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == QUARTER
    # A tenth is the platform's fee.
    assert await farebox.earned() == (QUARTER * 9 // 10, QUARTER // 10)
    assert await farebox.is_sound()


async def test_a_client_of_version_1_pays(farebox: Farebox) -> None:
    url = await farebox.publish() + "/weather"
    offer = (await farebox.agent.ask("GET", url)).json["accepts"][0]
    payload = sign_payment(
        farebox.agent.private_key, offer, int(time.time()), chain_id=farebox.chain.chain_id
    )
    payment = {"x402Version": 1, "scheme": "exact", "network": offer["network"], "payload": payload}
    paid = await farebox.agent.ask("GET", url, headers={"X-PAYMENT": encode(payment)})
    assert (paid.status, paid.json["path"]) == (200, "/weather")
    receipt = decode(paid.headers["X-PAYMENT-RESPONSE"])
    assert (receipt["success"], receipt["network"]) == (True, offer["network"])
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == QUARTER


async def test_fifty_requests_with_one_payment_give_one_answer(farebox: Farebox) -> None:
    url = await farebox.publish() + "/weather"
    challenge = await farebox.agent.ask("GET", url)
    headers = {"PAYMENT-SIGNATURE": farebox.agent.sign(challenge)}
    replies = await asyncio.gather(*(farebox.agent.ask("GET", url, headers=headers) for _ in range(50)))
    new = [reply for reply in replies if reply.status == 200 and "Idempotent-Replayed" not in reply.headers]
    assert len(new) == 1
    # Nobody is asked for a second payment.
    assert {reply.status for reply in replies} <= {200, 409, 503}
    assert len(farebox.upstream.seen) == 1
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == QUARTER
    again = await farebox.agent.ask("GET", url, headers=headers)
    assert (again.status, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert (again.text, again.payment) == (new[0].text, new[0].payment)


async def test_a_payment_for_one_route_opens_no_other(farebox: Farebox) -> None:
    shop = await farebox.publish()
    challenge = await farebox.agent.ask("GET", f"{shop}/a")
    payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(challenge)}
    before = len(farebox.upstream.seen)
    elsewhere = await farebox.agent.ask("GET", f"{shop}/b", headers=payment)
    assert (elsewhere.status, elsewhere.json["error"]) == (402, "resource_mismatch")
    assert len(farebox.upstream.seen) == before
    assert (await farebox.agent.ask("GET", f"{shop}/a", headers=payment)).status == 200


async def test_a_payment_that_names_no_resource_is_bound_to_its_first_request(farebox: Farebox) -> None:
    shop = await farebox.publish(price_per_call="0.25")
    challenge = await farebox.agent.ask("POST", f"{shop}/a", body={"n": 1})
    payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(challenge, is_bound=False)}
    first = await farebox.agent.ask("POST", f"{shop}/a", headers=payment, body={"n": 1})
    assert first.status == 200
    others = [
        await farebox.agent.ask("POST", f"{shop}/b", headers=payment, body={"n": 1}),  # path
        await farebox.agent.ask("POST", f"{shop}/a?x=1", headers=payment, body={"n": 1}),  # query
        await farebox.agent.ask("POST", f"{shop}/a", headers=payment, body={"n": 2}),  # body
        await farebox.agent.ask("PUT", f"{shop}/a", headers=payment, body={"n": 1}),  # method
    ]
    assert {(reply.status, reply.json["code"]) for reply in others} == {(409, "payment-bound-elsewhere")}
    assert len(farebox.upstream.bodies) == 1


async def test_a_drained_payer_gets_no_body(farebox: Farebox) -> None:
    url = await farebox.publish() + "/secret"
    thief = farebox.chain.accounts[2]

    async def drain_then_answer(request: web.Request) -> web.Response:
        amount = await farebox.chain.balance(farebox.token, thief.address)
        await farebox.move(thief, farebox.chain.accounts[9].address, amount)
        return web.Response(text="the secret")

    farebox.upstream.handler = drain_then_answer
    reply = await farebox.pay("GET", url)
    assert (reply.status, reply.json["error"]) == (402, "insufficient_funds")
    assert reply.payment["success"] is False
    assert "the secret" not in reply.text
    assert await farebox.earned() == (0, 0)


async def test_an_upstream_that_fails_costs_nothing(farebox: Farebox) -> None:
    shop = await farebox.publish()
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)

    async def fail(request: web.Request) -> web.Response:
        return web.Response(status=int(request.path.strip("/")), text="sorry")

    farebox.upstream.handler = fail
    for status in (302, 404, 500):
        on_chain = await farebox.pay("GET", f"{shop}/{status}")
        prepaid = await farebox.agent.ask("GET", f"{shop}/{status}", headers=account.headers)
        assert (on_chain.status, prepaid.status) == (status, status)
    assert await farebox.balance(account) == DOLLAR
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == 0
    assert await farebox.is_sound()


async def test_an_unreachable_upstream_costs_nothing(farebox: Farebox) -> None:
    shop = await farebox.publish(api_url="http://127.0.0.1:9")
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    reply = await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)
    assert (reply.status, reply.json["code"]) == (502, "upstream-unreachable")
    assert await farebox.balance(account) == DOLLAR


async def test_sixty_calls_on_a_balance_for_ten_give_ten(farebox: Farebox) -> None:
    url = await farebox.publish() + "/x"
    account = await farebox.sign_up()
    await farebox.fund(account, 10 * QUARTER)
    replies = await asyncio.gather(
        *(farebox.agent.ask("GET", url, headers=account.headers) for _ in range(60))
    )
    statuses = [reply.status for reply in replies]
    assert (statuses.count(200), statuses.count(402)) == (10, 50)
    assert len(farebox.upstream.seen) == 10
    assert await farebox.balance(account) == 0
    assert await farebox.is_sound()


async def test_a_balance_that_is_too_small_says_what_is_missing_and_where_to_deposit(
    farebox: Farebox,
) -> None:
    url = await farebox.publish() + "/x"
    account = await farebox.sign_up()
    await farebox.fund(account, QUARTER - 1)
    reply = await farebox.agent.ask("GET", url, headers=account.headers)
    assert reply.status == 402
    assert reply.json["balance"]["missing_atomic"] == "1"
    assert reply.json["balance"]["missing"] == "0.000001"
    assert reply.json["deposit_url"] == f"{farebox.origin}/wallet/deposit/crypto"
    # The x402 offers stand beside it.
    assert reply.offers[0]["amount"] == str(QUARTER)


async def test_a_deposit_is_credited_once_however_often_its_payment_is_sent(farebox: Farebox) -> None:
    account = await farebox.sign_up()
    url, body = f"{farebox.origin}/wallet/deposit/crypto", {"amount": "1.5"}
    challenge = await farebox.agent.ask("POST", url, headers=account.headers, body=body)
    assert challenge.status == 402
    headers = {**account.headers, "PAYMENT-SIGNATURE": farebox.agent.sign(challenge)}
    replies = await asyncio.gather(
        *(farebox.agent.ask("POST", url, headers=headers, body=body) for _ in range(10))
    )
    assert {reply.status for reply in replies} <= {200, 409, 503}
    last = await farebox.agent.ask("POST", url, headers=headers, body=body)
    assert (last.status, last.json["deposited_amount"]) == (200, "1.5")
    assert await farebox.balance(account) == DOLLAR * 3 // 2
    # The same payment buys no call either.
    shop = await farebox.publish()
    assert (await farebox.agent.ask("GET", f"{shop}/x", headers=headers)).status == 409
    assert await farebox.is_sound()


async def test_a_deposit_by_an_unknown_payer_makes_it_an_organization(farebox: Farebox) -> None:
    url, body = f"{farebox.origin}/wallet/deposit/crypto", {"amount": "1"}
    made = await farebox.pay("POST", url, body=body)
    assert made.status == 200
    # With the key that came with it the money can be spent.
    account = Account(UUID(int=0), made.json["api_key"])
    assert await farebox.balance(account) == DOLLAR
    lookup = f"{farebox.origin}/wallet/lookup/{farebox.payer}"
    await farebox.publish()
    found = await farebox.agent.ask("GET", lookup, headers=farebox.publisher.headers)
    assert (found.status, found.json["total_available_atomic"]) == (200, DOLLAR)


async def test_compressed_bodies_pass_unopened(farebox: Farebox) -> None:
    packed = gzip.compress(b"x" * 1000)

    async def answer(request: web.Request) -> web.Response:
        farebox.upstream.bodies.append(await request.read())
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    farebox.upstream.handler = answer
    url = await farebox.publish(price_per_call="0") + "/x"
    async with farebox.session.post(url, data=packed, headers={"Content-Encoding": "gzip"}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert await response.read() == packed
    assert farebox.upstream.bodies == [packed]


async def test_a_url_that_is_too_long_to_repeat_can_be_paid_for(farebox: Farebox) -> None:
    url = await farebox.publish() + "/x?q=" + "y" * 7000
    challenge = await farebox.agent.ask("GET", url)
    assert len(challenge.headers["PAYMENT-REQUIRED"]) < 8000
    paid = await farebox.agent.pay("GET", url, challenge)
    assert (paid.status, len(paid.json["path"])) == (200, len("/x?q=") + 7000)
