"""What an attacker tries on the money, and what a fault must not do to it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientError, web

from control.agent.client import Reply, decode, encode
from control.agent.wallet import sign_payment
from control.roles import serve
from control.roles.base import based
from gateway.ledger import holds
from gateway.ledger.holds import Holds
from gateway.x402.local import LocalFacilitator
from tests.gateway.conftest import Ledger
from tests.paths.conftest import DOLLAR, Farebox, serving
from tests.waiting import until

QUARTER = DOLLAR // 4
NOW = timedelta(0)
OLD_ASSET = "00000000-0000-0000-0000-000000000001"


class TestPending:
    """The chain does not say in time what became of a payment."""

    @pytest.fixture
    def network(self) -> dict[str, Any]:
        return {"settle_timeout_seconds": 0.5}

    async def test_a_new_price_is_no_reason_to_ask_for_a_pending_payment_again(
        self, farebox: Farebox
    ) -> None:
        shop = await farebox.publish()
        payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(await farebox.agent.ask("GET", f"{shop}/x"))}
        await left_pending(farebox, f"{shop}/x", payment)
        await reprice(farebox, shop, price_per_call="0.5")
        again = await farebox.agent.ask("GET", f"{shop}/x", headers=payment)
        assert (again.status, again.json["code"]) == (503, "settlement_pending")

    async def test_a_pending_payment_that_expires_is_still_pending(self, farebox: Farebox) -> None:
        url = await farebox.publish() + "/x"
        payment = short_lived(farebox, await farebox.agent.ask("GET", url), seconds=8)
        await left_pending(farebox, url, payment)
        await asyncio.sleep(3)
        again = await farebox.agent.ask("GET", url, headers=payment)
        assert (again.status, again.json["code"]) == (503, "settlement_pending")

    async def test_a_payment_that_cannot_be_read_holds_up_no_other(
        self, farebox: Farebox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop = await farebox.publish()
        farebox.chain.node.is_automining = False
        for n in range(3):
            assert (await farebox.pay("GET", f"{shop}/{n}")).status == 503
        await mine(farebox)
        first = await farebox.pool.fetchval("SELECT id FROM payments ORDER BY created_at LIMIT 1")
        really = LocalFacilitator.outcome

        async def stumble(self: LocalFacilitator, payment_id: Any, wait_seconds: float) -> Any:
            if payment_id == first:
                # A node's receipt without a status: receipts.py reads it by subscript.
                raise KeyError("status")
            return await really(self, payment_id, wait_seconds)

        monkeypatch.setattr(LocalFacilitator, "outcome", stumble)
        async with based(farebox.settings, farebox.origin) as base:
            assert await base.settlements.reconcile(NOW) == 2

    async def test_payments_on_a_network_that_is_gone_do_not_starve_the_others(
        self, farebox: Farebox
    ) -> None:
        shop = await farebox.publish()
        await strand(farebox, 100)
        farebox.chain.node.is_automining = False
        assert (await farebox.pay("GET", f"{shop}/x")).status == 503
        await mine(farebox)
        async with based(farebox.settings, farebox.origin) as base:
            assert await base.settlements.reconcile(NOW) == 1


async def left_pending(farebox: Farebox, url: str, payment: dict[str, str]) -> None:
    farebox.chain.node.is_automining = False
    reply = await farebox.agent.ask("GET", url, headers=payment)
    assert (reply.status, reply.json["code"]) == (503, "settlement_pending")


async def mine(farebox: Farebox) -> None:
    farebox.chain.node.is_automining = True
    await farebox.chain.run(farebox.chain.node.mine_waiting)


async def reprice(farebox: Farebox, shop: str, **prices: Any) -> None:
    listed = await farebox.agent.ask("GET", shop)
    publisher = f"{farebox.origin}/organizations/default/publishers/{listed.json['data']['id']}"
    body = {"asset_id": str(farebox.asset.id), **prices}
    changed = await farebox.agent.ask(
        "PUT", f"{publisher}/pricing", headers=farebox.publisher.headers, body=body
    )
    assert changed.status == 200, changed.text
    await asyncio.sleep(1)


def short_lived(farebox: Farebox, challenge: Reply, seconds: int) -> dict[str, str]:
    offer = decode(challenge.headers["PAYMENT-REQUIRED"])["accepts"][0]
    terms = {**offer, "maxTimeoutSeconds": seconds}
    payload = sign_payment(farebox.agent.private_key, terms, int(time.time()))
    return {"PAYMENT-SIGNATURE": encode({"x402Version": 2, "accepted": offer, "payload": payload})}


async def strand(farebox: Farebox, count: int) -> None:
    """Payments that were sent on a network which the settings name no more."""
    await farebox.pool.execute(
        "INSERT INTO assets (id, network, address, symbol, name, version, decimals, mode)"
        " VALUES ($1, 'eip155:99999', '0x' || repeat('1', 40), 'OLD', 'OLD', '1', 6, 'test')",
        OLD_ASSET,
    )
    credit_id = await farebox.pool.fetchval(
        "INSERT INTO accounts (id, owner_id, asset_id, mode, kind)"
        " VALUES (gen_random_uuid(), $1, $2, 'test', 'funded') RETURNING id",
        farebox.publisher.organization_id,
        OLD_ASSET,
    )
    await farebox.pool.execute(
        "INSERT INTO payments (id, purpose, asset_id, payer, nonce, pay_to, amount, valid_after,"
        " valid_before, signature, request_digest, credit_id, is_owed, state, created_at)"
        " SELECT gen_random_uuid(), 'deposit', $1, '0x' || repeat('2', 40),"
        " decode(lpad(to_hex(n), 64, '0'), 'hex'), '0x' || repeat('3', 40), 1, 0, 1,"
        " decode(repeat('00', 65), 'hex'), decode(repeat('00', 32), 'hex'), $2, true, 'submitted',"
        " now() - interval '1 day' FROM generate_series(1, $3::integer) AS n",
        OLD_ASSET,
        credit_id,
        count,
    )


async def test_a_deposit_is_the_same_answer_also_when_its_payment_has_expired(farebox: Farebox) -> None:
    """Its sender lost the answer; a 402 would make it deposit twice."""
    account = await farebox.sign_up()
    url, body = f"{farebox.origin}/wallet/deposit/crypto", {"amount": "1"}
    challenge = await farebox.agent.ask("POST", url, headers=account.headers, body=body)
    headers = {**account.headers, **short_lived(farebox, challenge, seconds=8)}
    assert (await farebox.agent.ask("POST", url, headers=headers, body=body)).status == 200
    await asyncio.sleep(3)
    again = await farebox.agent.ask("POST", url, headers=headers, body=body)
    assert (again.status, again.json.get("deposited_amount")) == (200, "1")


async def test_two_first_deposits_of_a_wallet_are_one_balance(farebox: Farebox) -> None:
    url, body = f"{farebox.origin}/wallet/deposit/crypto", {"amount": "1"}
    challenge = await farebox.agent.ask("POST", url, body=body)
    payments = [{"PAYMENT-SIGNATURE": farebox.agent.sign(challenge)} for _ in range(2)]
    replies = await asyncio.gather(
        *(farebox.agent.ask("POST", url, headers=one, body=body) for one in payments)
    )
    assert [reply.status for reply in replies] == [200, 200]
    await farebox.publish()
    lookup = f"{farebox.origin}/wallet/lookup/{farebox.payer}"
    found = await farebox.agent.ask("GET", lookup, headers=farebox.publisher.headers)
    assert found.json["total_available_atomic"] == 2 * DOLLAR


async def test_one_payment_sent_everywhere_at_once_moves_money_once(farebox: Farebox) -> None:
    """As a deposit of two organizations, of none, and as a call of the same price."""
    shop = await farebox.publish(price_per_call="1")
    first, second = await farebox.sign_up(), await farebox.sign_up()
    url, body = f"{farebox.origin}/wallet/deposit/crypto", {"amount": "1"}
    challenge = await farebox.agent.ask("POST", url, body=body)
    payment = {"PAYMENT-SIGNATURE": farebox.agent.sign(challenge, is_bound=False)}
    replies = await asyncio.gather(
        *(
            farebox.agent.ask("POST", url, headers={**payment, **headers}, body=body)
            for headers in (first.headers, second.headers, {})
            for _ in range(3)
        ),
        *(farebox.agent.ask("GET", f"{shop}/x", headers=payment) for _ in range(3)),
    )
    # Whoever sends what was taken once more is given its answer again; nobody else is.
    taken = {place // 3 for place, reply in enumerate(replies) if reply.status == 200}
    assert len(taken) <= 1
    assert {reply.status for reply in replies} <= {200, 409, 503}
    assert await farebox.chain.balance(farebox.token, farebox.platform_wallet) == DOLLAR
    assert await farebox.pool.fetchval("SELECT count(*) FROM transfers") == 1
    assert await farebox.is_sound()


async def test_a_charge_whose_commit_went_unheard_is_not_called_uncharged(
    farebox: Farebox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection dies between the commit and its answer; the batch is run again one by one."""
    url = await farebox.publish() + "/x"
    account = await farebox.sign_up()
    await farebox.fund(account, 10 * DOLLAR)
    fetch, lost = asyncpg.Pool.fetch, False

    async def lose(self: Any, query: str, *args: Any, **more: Any) -> Any:
        nonlocal lost
        rows = await fetch(self, query, *args, **more)
        if query == holds.SQL.post:
            # Long enough for the next batch to have company.
            await asyncio.sleep(0.05)
            if len(args[0]) > 1 and not lost:
                lost = True
                raise asyncpg.ConnectionDoesNotExistError("connection was closed")
        return rows

    monkeypatch.setattr(asyncpg.Pool, "fetch", lose)
    replies = await asyncio.gather(
        *(farebox.agent.ask("GET", url, headers=account.headers) for _ in range(10))
    )
    assert lost
    charged = 10 * DOLLAR - await farebox.balance(account)
    assert charged == QUARTER * sum(reply.status == 200 for reply in replies)
    assert await farebox.is_sound()


async def test_a_hold_whose_commit_went_unheard_is_given_back(
    farebox: Farebox, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await farebox.publish() + "/x"
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    fetch, lost = asyncpg.Pool.fetch, False

    async def lose(self: Any, query: str, *args: Any, **more: Any) -> Any:
        nonlocal lost
        rows = await fetch(self, query, *args, **more)
        if query == holds.SQL.open and not lost:
            lost = True
            raise asyncpg.ConnectionDoesNotExistError("connection was closed")
        return rows

    monkeypatch.setattr(asyncpg.Pool, "fetch", lose)
    reply = await farebox.agent.ask("GET", url, headers=account.headers)
    # The database was away, which is no bug of ours; or the hold was found again, and the call went on.
    assert reply.status in (200, 503)
    assert await farebox.balance(account) == (DOLLAR if reply.status == 503 else DOLLAR - QUARTER)


async def test_a_shutdown_while_a_hold_is_being_opened_gives_it_back(
    farebox: Farebox, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await farebox.publish()
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    opening, really = asyncio.Event(), Holds.try_open

    async def slowly(self: Holds, batch: Any) -> Any:
        opening.set()
        await asyncio.sleep(1)
        return await really(self, batch)

    async def ask(url: str) -> None:
        with pytest.raises(ClientError):
            await farebox.agent.ask("GET", url, headers=account.headers)

    monkeypatch.setattr(serve, "DRAIN_SECONDS", 0.2)
    async with asyncio.TaskGroup() as group, serving(farebox.settings) as origin:
        monkeypatch.setattr(Holds, "try_open", slowly)
        group.create_task(ask(shop.replace(farebox.origin, origin) + "/x"))
        await opening.wait()
    assert await farebox.balance(account) == DOLLAR


async def test_an_answer_that_cannot_be_passed_on_costs_nothing(farebox: Farebox) -> None:
    """A reason phrase with a control character: what is not fit to be relayed must not be charged first."""
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    async with answering(b"HTTP/1.1 200 fi\x01ne\r\nContent-Length: 2\r\n\r\nok") as url:
        shop = await farebox.publish(api_url=url)
        reply = await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)
    assert reply.status in (200, 502)
    assert await farebox.balance(account) == (DOLLAR if reply.status == 502 else DOLLAR - QUARTER)


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """An upstream that says these bytes to everything."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


@pytest.mark.parametrize(
    "prices",
    [
        {"price_per_execution": "1"},
        {"base_price_per_1000_rows": "1"},
        {"hourly_rate": "1"},
        {"billing_model": "pay_per_use", "reserve_max_charge": "1", "unresolved_fallback_charge": "0.5"},
    ],
)
async def test_a_price_that_the_gateway_cannot_charge_gives_nothing_away(
    farebox: Farebox, prices: dict[str, str]
) -> None:
    """Refused when it is saved, or not for sale: never free."""
    body = {
        "name": "shop",
        "slug": "shop",
        "publisher_category": "integration",
        "api_url": farebox.upstream.url,
        "wallet_address": farebox.chain.accounts[5].address,
        "wallet_network_id": farebox.chain.network,
        **prices,
    }
    url = f"{farebox.origin}/organizations/default/publishers"
    saved = await farebox.agent.ask("POST", url, headers=farebox.publisher.headers, body=body)
    if saved.status == 201:
        shop = f"{farebox.origin}/publishers/shop"
        await until(lambda: farebox.is_served(shop))
        assert (await farebox.agent.ask("GET", f"{shop}/x")).status in (402, 403)
    else:
        assert saved.status == 400
    assert farebox.upstream.seen == []


async def test_a_publisher_deleted_during_a_call_is_still_paid_for_it(farebox: Farebox) -> None:
    shop = await farebox.publish()
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    publisher_id = (await farebox.agent.ask("GET", shop)).json["data"]["id"]
    url = f"{farebox.origin}/organizations/default/publishers/{publisher_id}"

    async def answer(request: web.Request) -> web.Response:
        deleted = await farebox.agent.ask("DELETE", url, headers=farebox.publisher.headers)
        assert deleted.status == 200
        await asyncio.sleep(1)
        return web.Response(text="ok")

    farebox.upstream.handler = answer
    assert (await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)).status == 200
    assert (await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)).status == 404
    assert await farebox.balance(account) == DOLLAR - QUARTER
    earned, _ = await Ledger(farebox.pool).balance(
        farebox.publisher.organization_id, farebox.asset, "earnings"
    )
    assert earned == QUARTER * 9 // 10
    assert await farebox.is_sound()


async def test_a_payer_with_money_for_one_call_gets_one_call_upstream(farebox: Farebox) -> None:
    """What an upstream did cannot be taken back, and each transfer that reverts costs our gas."""
    url = await farebox.publish(price_per_call="10") + "/x"

    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(0.5)
        return web.Response(text="done")

    farebox.upstream.handler = slow
    challenge = await farebox.agent.ask("POST", url)
    payments = [{"PAYMENT-SIGNATURE": farebox.agent.sign(challenge)} for _ in range(5)]
    replies = await asyncio.gather(*(farebox.agent.ask("POST", url, headers=one) for one in payments))
    assert len(farebox.upstream.seen) <= 1
    assert {reply.status for reply in replies} <= {200, 402}
    # Nobody was charged for what was refused, so the money is there for the next one.
    assert (await farebox.pay("POST", url)).status in (200, 402)
    assert await farebox.is_sound()
