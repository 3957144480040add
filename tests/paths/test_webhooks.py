"""What an organization is told, by the product as an operator runs it, whatever dies meanwhile."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier

from tests.control.test_webhooks import Receiver, receiving
from tests.paths import test_processes
from tests.paths.conftest import DOLLAR, Account, Farebox
from tests.paths.test_processes import Up
from tests.waiting import until

up = test_processes.up

AT = "/organizations/default/webhooks"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def register(farebox: Farebox, account: Account, receiver: Receiver, *types: str) -> tuple[str, str]:
    body = {"name": "mine", "url": receiver.url, "events": list(types)}
    reply = await farebox.agent.ask("POST", f"{farebox.origin}{AT}", headers=account.headers, body=body)
    assert reply.status == 201, reply.text
    return reply.json["data"]["webhook"]["id"], reply.json["data"]["secret"]


def told(receiver: Receiver, secret: str) -> dict[str, Any]:
    """What arrived so far, by type, each message verified."""
    messages = [Verifier(secret).verify(body, headers) for headers, body in receiver.got]
    return {one["type"]: one["data"] for one in messages}


async def has_arrived(receiver: Receiver, secret: str, types: set[str]) -> bool:
    return types <= told(receiver, secret).keys()


async def test_payments_deposits_and_caps_are_told_within_seconds(up: Up, receiver: Receiver) -> None:
    farebox = up.farebox
    _, secret = await register(farebox, farebox.publisher, receiver, "*")
    shop = await farebox.publish()
    await test_processes.served_everywhere(farebox, shop)
    assert (await farebox.pay("GET", f"{shop}/x")).status == 200
    key = {"name": "capped", "spend_caps": {"per_day": "0.5"}}
    at = f"{farebox.origin}/organizations/default/api-keys"
    made = await farebox.agent.ask("POST", at, headers=farebox.publisher.headers, body=key)
    await farebox.fund(farebox.publisher, DOLLAR)
    capped = {"Authorization": f"Bearer {made.json['data']['api_key']}"}
    statuses = [(await farebox.agent.ask("GET", f"{shop}/x", headers=capped)).status for _ in range(3)]
    assert statuses == [200, 200, 403]
    deposit = f"{farebox.origin}/wallet/deposit/crypto"
    paid = await farebox.pay("POST", deposit, headers=farebox.publisher.headers, body={"amount": "2"})
    assert paid.status == 200, paid.text
    expected = {
        "publisher.created", "payment.settled", "key.created", "key.cap_near", "key.cap_reached",
        "wallet.deposited",
    }  # fmt: skip
    await until(lambda: has_arrived(receiver, secret, expected))
    messages = told(receiver, secret)
    assert messages["payment.settled"]["amount_atomic"] == str(DOLLAR // 4)

    async def is_deposited() -> bool:
        # The account was funded before, which is told as well.
        return bool(told(receiver, secret)["wallet.deposited"]["amount_atomic"] == str(2 * DOLLAR))

    await until(is_deposited)
    assert await farebox.is_sound()


async def test_a_settled_payment_nobody_listens_for_leaves_no_event(up: Up, receiver: Receiver) -> None:
    farebox = up.farebox
    await register(farebox, farebox.publisher, receiver, "publisher.updated")
    shop = await farebox.publish()
    await test_processes.served_everywhere(farebox, shop)
    assert (await farebox.pay("GET", f"{shop}/x")).status == 200
    assert await farebox.pool.fetchval("SELECT count(*) FROM events WHERE type = 'payment.settled'") == 0


async def test_killed_between_delivery_and_record_a_message_comes_again_under_its_id(
    up: Up, receiver: Receiver
) -> None:
    farebox = up.farebox
    webhook_id, secret = await register(farebox, farebox.publisher, receiver, "publisher.created")
    receiver.seconds = 60
    await farebox.publish()

    async def is_reached() -> bool:
        return bool(receiver.got)

    await until(is_reached)
    receiver.seconds = 0
    os.kill(jobs_of(farebox), signal.SIGKILL)
    # It is leased to the dead worker for half a minute, which this test does not wait for.
    assert await farebox.pool.fetchval("SELECT leased_until > now() FROM webhooks") is True
    await asyncio.sleep(1.5)
    assert len(receiver.got) == 1
    await farebox.pool.execute("UPDATE webhooks SET leased_until = now()")

    async def is_delivered() -> bool:
        at = f"{farebox.origin}{AT}/{webhook_id}/deliveries?state=delivered"
        return bool((await farebox.agent.ask("GET", at, headers=farebox.publisher.headers)).json)

    await until(is_delivered, 20)
    assert len(receiver.got) == 2
    assert len(set(receiver.ids)) == 1
    assert told(receiver, secret).keys() == {"publisher.created"}


def jobs_of(farebox: Farebox) -> int:
    """The process of background jobs."""
    [pid] = test_processes.titled(farebox, "jobs")
    return pid
