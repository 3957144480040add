"""A client that retries: it has the same answer, nothing is made twice, and nothing is paid twice."""

import asyncio
import gzip
import time
from datetime import timedelta

import pytest
from aiohttp import ClientError, ClientSession, TCPConnector, web

from control.agent.client import Agent, decode, encode
from control.roles import work
from control.roles.base import based
from gateway.answers import again as again_in_time
from gateway.answers import store as kept_answers
from gateway.kit.sql import Pool
from tests.paths.conftest import DOLLAR, Account, Farebox, break_off, serving
from tests.waiting import SECONDS_MAX, until

QUARTER = DOLLAR // 4
MEGABYTE = 1 << 20
NOW = timedelta(0)
# These are about the moment of an answer, and not about the call that it answers.
OF_NOW = {"RateLimit", "RateLimit-Policy", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"}


def keyed(account: Account, name: str = "order-1") -> dict[str, str]:
    return {**account.headers, "Idempotency-Key": name}


@pytest.fixture
async def account(farebox: Farebox) -> Account:
    account = await farebox.sign_up()
    await farebox.fund(account, 10 * DOLLAR)
    return account


async def whole(
    farebox: Farebox, url: str, headers: dict[str, str], method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    async with farebox.session.request(method, url, headers=headers) as response:
        kept = {name: value for name, value in response.headers.items() if name not in OF_NOW}
        return response.status, kept, await response.read()


async def test_an_answer_that_is_read_ahead_is_given_to_nobody_before_it_is_charged(
    farebox: Farebox, account: Account
) -> None:
    url = await farebox.publish() + "/x"
    assert (await farebox.agent.ask("GET", url, headers=keyed(account))).status == 200
    await farebox.pool.execute("UPDATE holds SET state = 'open', spent = NULL")
    early = await farebox.agent.ask("GET", url, headers=keyed(account))
    assert (early.status, early.json["code"]) == (409, "call-in-progress")
    await farebox.pool.execute("UPDATE holds SET state = 'posted', spent = amount")
    assert (await farebox.agent.ask("GET", url, headers=keyed(account))).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_the_same_call_gets_the_same_answer_byte_for_byte(
    farebox: Farebox, account: Account, method: str
) -> None:
    packed = gzip.compress(bytes(range(256)) * 100)

    async def answer(request: web.Request) -> web.Response:
        headers = {"Content-Encoding": "gzip", "X-Trace": "\u00e9", "ETag": '"1"'}
        return web.Response(status=201, reason="Made", body=packed, headers=headers)

    url = await farebox.publish() + "/x?y=1"
    farebox.upstream.handler = answer
    first = await whole(farebox, url, keyed(account), method)
    again = await whole(farebox, url, keyed(account), method)
    assert again[1].pop("Idempotent-Replayed") == "true"
    # Only the first was charged.
    assert first[1].pop("X-Farebox-Charged") == "0.25 TUSD"
    assert again == first
    assert (first[0], first[2]) == (201, b"" if method == "HEAD" else packed)
    assert len(farebox.upstream.seen) == 1
    assert farebox.upstream.seen[0].headers["Idempotency-Key"] == "order-1"
    assert await farebox.balance(account) == 10 * DOLLAR - QUARTER
    assert await farebox.is_sound()


async def test_another_request_under_the_same_key_is_refused(farebox: Farebox, account: Account) -> None:
    shop, other = await farebox.publish(), await farebox.publish("other")
    ask, headers = farebox.agent.ask, keyed(account)
    assert (await ask("POST", f"{shop}/a", headers=headers, body={"n": 1})).status == 200
    others = [
        await ask("POST", f"{shop}/b", headers=headers, body={"n": 1}),
        await ask("POST", f"{shop}/a?x=1", headers=headers, body={"n": 1}),
        await ask("POST", f"{shop}/a", headers=headers, body={"n": 2}),
        await ask("PUT", f"{shop}/a", headers=headers, body={"n": 1}),
        await ask("POST", f"{other}/a", headers=headers, body={"n": 1}),
    ]
    assert {(one.status, one.json["code"]) for one in others} == {(409, "idempotency-key-reused")}
    # Another organization has keys of its own.
    stranger = await farebox.sign_up()
    await farebox.fund(stranger, DOLLAR)
    assert (await ask("POST", f"{shop}/b", headers=keyed(stranger), body={"n": 1})).status == 200
    assert len(farebox.upstream.seen) == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "\u00e9"])
async def test_a_malformed_key_is_refused(farebox: Farebox, account: Account, key: str) -> None:
    url = await farebox.publish() + "/x"
    reply = await farebox.agent.ask("GET", url, headers=keyed(account, key))
    assert (reply.status, reply.json["code"]) == (400, "invalid-request")


async def test_a_call_that_failed_cost_nothing_and_may_be_made_again(
    farebox: Farebox, account: Account
) -> None:
    url = await farebox.publish() + "/x"
    statuses = iter([500, 404, 200])

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=next(statuses), text="text")

    farebox.upstream.handler = answer
    replies = [await farebox.agent.ask("GET", url, headers=keyed(account)) for _ in range(4)]
    assert [one.status for one in replies] == [500, 404, 200, 200]
    assert len(farebox.upstream.seen) == 3
    assert await farebox.balance(account) == 10 * DOLLAR - QUARTER


async def test_a_call_without_the_money_has_the_stored_answer_all_the_same(farebox: Farebox) -> None:
    account = await farebox.sign_up()
    await farebox.fund(account, QUARTER)
    url = await farebox.publish() + "/x"
    first, again = [await farebox.agent.ask("GET", url, headers=keyed(account)) for _ in range(2)]
    assert (first.status, again.status, again.text) == (200, 200, first.text)
    assert (await farebox.agent.ask("GET", url, headers=keyed(account, "2"))).status == 402


async def test_forty_at_once_on_two_replicas_make_one_call(farebox: Farebox, account: Account) -> None:
    shop = await farebox.publish()

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(0.3)
        return web.Response(text=f"answer {len(farebox.upstream.seen)}")

    async with serving(farebox.settings) as second:
        urls = [f"{shop}/x", f"{shop}/x".replace(farebox.origin, second)]
        await farebox.agent.ask("GET", urls[1], headers=account.headers)
        farebox.upstream.seen.clear()
        farebox.upstream.handler = answer
        replies = await asyncio.gather(
            *(farebox.agent.ask("GET", urls[n % 2], headers=keyed(account)) for n in range(40))
        )
        last = await farebox.agent.ask("GET", urls[1], headers=keyed(account))
    assert {one.status for one in replies} <= {200, 409}
    assert (
        len([one for one in replies if one.status == 200 and "Idempotent-Replayed" not in one.headers]) == 1
    )
    assert {one.text for one in replies if one.status == 200} == {"answer 1"}
    assert {one.headers["Retry-After"] for one in replies if one.status == 409} <= {"1"}
    assert (last.status, last.text) == (200, "answer 1")
    assert len(farebox.upstream.seen) == 1
    # One for learning that the second replica serves it, one for all the others.
    assert await farebox.balance(account) == 10 * DOLLAR - 2 * QUARTER
    assert await farebox.is_sound()


async def test_one_payment_on_two_replicas_makes_one_call(farebox: Farebox) -> None:
    url = await farebox.publish() + "/x"
    payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(await farebox.agent.ask("GET", url))}
    # Behind a balancer both are known by one origin.
    settings = farebox.settings.model_copy(update={"public_url": farebox.origin})
    async with serving(settings) as second:
        urls = [url, url.replace(farebox.origin, second)]
        await until(lambda: is_served(farebox, urls[1]))
        replies = await asyncio.gather(
            *(farebox.agent.ask("GET", urls[n % 2], headers=payment) for n in range(20))
        )
    new = [one for one in replies if one.status == 200 and "Idempotent-Replayed" not in one.headers]
    assert len(new) == 1
    assert {one.status for one in replies} <= {200, 409, 503}
    assert {one.text for one in replies if one.status == 200} == {new[0].text}
    assert len(farebox.upstream.seen) == 1
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == QUARTER


async def is_served(farebox: Farebox, url: str) -> bool:
    return (await farebox.agent.ask("GET", url)).status == 402


async def slow_body(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for n in range(20):
        await response.write(f"part {n}\n".encode() * 100)
        await asyncio.sleep(0.02)
    return response


@pytest.mark.parametrize("rail", ["prepaid", "x402"])
async def test_a_caller_who_hung_up_finds_its_whole_answer(
    farebox: Farebox, account: Account, rail: str
) -> None:
    url = await farebox.publish() + "/x"
    headers = keyed(account)
    if rail == "x402":
        headers = {"PAYMENT-SIGNATURE": farebox.agent.sign(await farebox.agent.ask("GET", url))}
    farebox.upstream.handler = slow_body
    async with ClientSession() as session:
        response = await session.get(url, headers=headers)
        assert response.status == 200
        await response.content.readany()
        assert response.connection is not None
        assert response.connection.transport is not None
        response.connection.transport.abort()
        response.close()
    status, _, body = await whole(farebox, url, headers)
    assert (status, body) == (200, b"".join(f"part {n}\n".encode() * 100 for n in range(20)))
    assert len(farebox.upstream.seen) == 1
    assert sum(await farebox.earned()) == QUARTER


async def test_hanging_up_and_asking_again_is_no_discount_on_a_price_by_the_byte(
    farebox: Farebox, account: Account
) -> None:
    shop = await farebox.publish(
        price_per_call="0.01", base_price_per_1000_rows="0.1", reserve_max_charge="5"
    )
    pricing = {"asset_id": str(farebox.asset.id), "pricing_model": "per_byte"}
    publisher = await farebox.pool.fetchval("SELECT id FROM publishers")
    at = f"{farebox.origin}/organizations/default/publishers/{publisher}/pricing"
    changed = await farebox.agent.ask("PUT", at, headers=farebox.publisher.headers, body=pricing)
    assert changed.status == 200, changed.text
    url, headers = f"{shop}/x", keyed(account)
    farebox.upstream.handler = slow_body

    async def is_metered() -> bool:
        other = await farebox.sign_up()
        await farebox.fund(other, 10 * DOLLAR)
        await whole(farebox, url, other.headers)
        return bool(await farebox.balance(other) == 10 * DOLLAR - cost)

    body = b"".join(f"part {n}\n".encode() * 100 for n in range(20))
    cost = DOLLAR // 100 + len(body) * DOLLAR // 10_000
    await until(is_metered, 20)
    async with ClientSession() as session:
        response = await session.get(url, headers=headers)
        await response.content.readany()
        response.close()
    again = await whole(farebox, url, headers)
    assert (again[0], again[2], again[1]["Idempotent-Replayed"]) == (200, body, "true")
    assert await farebox.balance(account) == 10 * DOLLAR - cost
    assert await farebox.is_sound()


@pytest.mark.parametrize("rail", ["prepaid", "x402"])
async def test_a_larger_answer_passes_whole_and_is_not_kept(
    farebox: Farebox, account: Account, rail: str
) -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for n in range(24):
            await response.write(bytes([n]) * (MEGABYTE // 16 + 1))
        return response

    url = await farebox.publish() + "/x"
    headers = keyed(account)
    if rail == "x402":
        headers = {"PAYMENT-SIGNATURE": farebox.agent.sign(await farebox.agent.ask("GET", url))}
    farebox.upstream.handler = flood
    status, _, body = await whole(farebox, url, headers)
    assert (status, body) == (200, b"".join(bytes([n]) * (MEGABYTE // 16 + 1) for n in range(24)))
    again = await farebox.agent.ask("GET", url, headers=headers)
    assert (again.status, again.json["code"], again.json["reason"]) == (409, "answer-not-kept", "too_large")
    assert again.json["charged"] == f"0.25 {farebox.asset.symbol}"
    assert len(farebox.upstream.seen) == 1


async def test_an_answer_that_broke_off_is_not_given_as_a_whole_one(
    farebox: Farebox, account: Account
) -> None:
    url = await farebox.publish() + "/x"
    farebox.upstream.handler = break_off
    with pytest.raises(ClientError):
        await whole(farebox, url, keyed(account))
    again = await farebox.agent.ask("GET", url, headers=keyed(account))
    assert (again.status, again.json["code"], again.json["reason"]) == (409, "answer-not-kept", "cut_short")
    assert len(farebox.upstream.seen) == 1


async def test_answers_are_kept_across_a_restart_and_pruned_when_old(farebox: Farebox) -> None:
    """Two processes, one after the other, as replicas that share the database and nothing else."""
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    shop = await farebox.publish()
    async with serving(farebox.settings) as first:
        url = f"{shop}/x".replace(farebox.origin, first)
        text = (await farebox.agent.ask("GET", url, headers=keyed(account))).text
    again = await farebox.agent.ask("GET", f"{shop}/x", headers=keyed(account))
    assert (again.text, again.headers["Idempotent-Replayed"]) == (text, "true")
    async with based(farebox.settings, farebox.origin) as base:
        await work.prune(base)
        assert await rows(farebox.pool) == (1, 1)
        for table in ("idempotency_keys", "answers"):
            await farebox.pool.execute(f"UPDATE {table} SET created_at = now() - interval '25 hours'")
        await work.prune(base)
    assert await rows(farebox.pool) == (0, 0)
    assert (await farebox.agent.ask("GET", f"{shop}/x", headers=keyed(account))).status == 200
    assert len(farebox.upstream.seen) == 2


async def rows(pool: Pool) -> tuple[int, int]:
    return (
        await pool.fetchval("SELECT count(*) FROM idempotency_keys"),
        await pool.fetchval("SELECT count(*) FROM answers"),
    )


async def test_the_answer_to_a_pending_payment_waits_for_it_however_long(farebox: Farebox) -> None:
    url = await farebox.publish() + "/x"
    assert (await farebox.pay("GET", url)).status == 200
    await farebox.pool.execute("UPDATE answers SET created_at = now() - interval '9 days'")
    await farebox.pool.execute("UPDATE payments SET state = 'submitted', closed_at = NULL")
    await kept_answers.prune(farebox.pool, NOW)
    assert await farebox.pool.fetchval("SELECT count(*) FROM answers") == 1
    await farebox.pool.execute("UPDATE payments SET state = 'settled', closed_at = now()")
    await kept_answers.prune(farebox.pool, timedelta(hours=24))
    assert await farebox.pool.fetchval("SELECT count(*) FROM answers") == 1
    await kept_answers.prune(farebox.pool, NOW)
    assert await farebox.pool.fetchval("SELECT count(*) FROM answers") == 0


async def test_a_payment_is_recognised_after_it_expired_and_the_price_changed(
    farebox: Farebox, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await farebox.publish() + "/x"
    payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(await farebox.agent.ask("GET", url))}
    first = await farebox.agent.ask("GET", url, headers=payment)
    then = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: then)
    late = await farebox.agent.ask("GET", url, headers=payment)
    assert (late.status, late.text) == (200, first.text)
    monkeypatch.undo()
    await farebox.pool.execute("UPDATE publisher_prices SET prices = jsonb_build_object('price_per_call', 1)")
    await until(lambda: costs(farebox, url, 1))
    dearer = await farebox.agent.ask("GET", url, headers=payment)
    assert (dearer.status, dearer.text, dearer.payment) == (200, first.text, first.payment)
    assert len(farebox.upstream.seen) == 1


async def test_a_deposit_is_recognised_after_its_payment_expired(
    farebox: Farebox, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, body = f"{farebox.origin}/wallet/deposit/crypto", {"amount": "1"}
    challenge = await farebox.agent.ask("POST", url, headers=account.headers, body=body)
    headers = {**account.headers, "PAYMENT-SIGNATURE": farebox.agent.sign(challenge)}
    first = await farebox.agent.ask("POST", url, headers=headers, body=body)
    then = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: then)
    late = await farebox.agent.ask("POST", url, headers=headers, body=body)
    assert (late.status, late.text) == (200, first.text)
    assert await farebox.balance(account) == 11 * DOLLAR


async def costs(farebox: Farebox, url: str, amount: int) -> bool:
    return bool((await farebox.agent.ask("GET", url)).offers[0]["amount"] == str(amount))


async def test_what_a_payment_bought_is_not_for_whoever_read_it_on_the_chain(
    farebox: Farebox, account: Account
) -> None:
    """A settled payment is public, signature and all."""
    url = await farebox.publish() + "/x"
    payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(await farebox.agent.ask("GET", url))}
    headers = {**payment, **account.headers}
    first = await farebox.agent.ask("GET", url, headers=headers)
    async with ClientSession(connector=TCPConnector(local_addr=("127.0.0.2", 0))) as session:
        elsewhere = Agent(session, b"")
        stranger = await elsewhere.ask("GET", url, headers=payment)
        # Its organization may have moved.
        moved = await elsewhere.ask("GET", url, headers=headers)
    assert (stranger.status, stranger.json["code"]) == (409, "payment-already-used")
    assert (moved.status, moved.text) == (200, first.text)
    assert (await farebox.agent.ask("GET", url, headers=payment)).text == first.text


@pytest.mark.parametrize("name", [None, "order-7f3a9c1e-0001"])
async def test_whoever_knows_what_the_payer_called_its_payment_is_the_payer(
    farebox: Farebox, name: str | None
) -> None:
    url = await farebox.publish() + "/x"
    challenge = await farebox.agent.ask("GET", url)
    payment = decode(farebox.agent.sign(challenge))
    if name is not None:
        payment["extensions"] = {"payment-identifier": {"info": {"required": False, "id": name}}}
    headers = {"PAYMENT-SIGNATURE": encode(payment)}
    first = await farebox.agent.ask("GET", url, headers=headers)
    assert first.status == 200
    async with ClientSession(connector=TCPConnector(local_addr=("127.0.0.2", 0))) as session:
        moved = await Agent(session, b"").ask("GET", url, headers=headers)
    assert (moved.status, moved.text == first.text) == ((409, False) if name is None else (200, True))


async def test_a_payment_upfront_has_its_answer_again_and_no_cap_of_a_key(
    farebox: Farebox, account: Account
) -> None:
    url = await farebox.publish(payment_flow="upfront") + "/x"
    keys = f"{farebox.origin}/organizations/default/api-keys"
    body = {"name": "capped", "spend_caps": {"total": "0"}}
    made = await farebox.agent.ask("POST", keys, headers=account.headers, body=body)
    capped = Account(account.organization_id, made.json["data"]["api_key"])
    assert (await farebox.agent.ask("GET", url, headers=capped.headers)).status == 403
    challenge = await farebox.agent.ask("GET", url)
    headers = {**keyed(capped), "PAYMENT-SIGNATURE": farebox.agent.sign(challenge)}
    first, again = [await farebox.agent.ask("GET", url, headers=headers) for _ in range(2)]
    assert (first.status, again.status, again.text) == (200, 200, first.text)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["X-Farebox-Call-Id"] == first.headers["X-Farebox-Call-Id"]
    assert again.payment == first.payment
    assert len(farebox.upstream.seen) == 1
    assert await farebox.balance(account) == 10 * DOLLAR
    assert await farebox.is_sound()


async def test_a_payment_upfront_for_a_call_that_failed_is_in_the_balance_at_once(
    farebox: Farebox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for a call that has ended."""

    async def fail(request: web.Request) -> web.Response:
        return web.Response(status=500)

    url = await farebox.publish(payment_flow="upfront") + "/x"
    farebox.upstream.handler = fail
    payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(await farebox.agent.ask("GET", url))}
    assert (await farebox.agent.ask("GET", url, headers=payment)).status == 500
    monkeypatch.setattr(again_in_time, "WAIT_SECONDS", 10 * SECONDS_MAX)
    async with asyncio.timeout(SECONDS_MAX):
        again = await farebox.agent.ask("GET", url, headers=payment)
    assert (again.status, again.json["code"]) == (409, "payment-already-used")
    assert again.payment["extra"] == {"creditedToBalance": str(QUARTER)}


async def test_a_stored_answer_of_a_payment_that_failed_is_given_to_nobody(farebox: Farebox) -> None:
    url = await farebox.publish() + "/secret"
    thief = farebox.chain.accounts[2]

    async def drain_then_answer(request: web.Request) -> web.Response:
        amount = await farebox.chain.balance(farebox.token, thief.address)
        await farebox.move(thief, farebox.chain.accounts[9].address, amount)
        return web.Response(text="the secret")

    challenge = await farebox.agent.ask("GET", url)
    payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(challenge)}
    farebox.upstream.handler = drain_then_answer
    for _ in range(2):
        reply = await farebox.agent.ask("GET", url, headers=payment)
        assert reply.status == 402
        assert "the secret" not in reply.text


async def test_a_free_call_keeps_nothing(farebox: Farebox, account: Account) -> None:
    url = await farebox.publish(price_per_call="0") + "/x"
    for _ in range(2):
        reply = await farebox.agent.ask("GET", url, headers=keyed(account))
        assert (reply.status, "Idempotent-Replayed" in reply.headers) == (200, False)
    assert await rows(farebox.pool) == (0, 0)
