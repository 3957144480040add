"""A remote facilitator, and everything that it can get wrong."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from pydantic import ValidationError

from config.settings import Network
from gateway.x402 import payments
from gateway.x402 import remote as remote_module
from gateway.x402.facilitator import (
    Authorization,
    ChainMismatch,
    FacilitatorUnavailable,
    PaymentInvalid,
    PaymentNotClaimed,
    Settlement,
)
from gateway.x402.remote import RemoteFacilitator
from tests.gateway.x402.shop import PRICE, Shop

HASH = "0x" + "ab" * 32
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Fake:
    """A facilitator that says what a test tells it to, and remembers what it was asked."""

    url: str = ""
    says: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/x402/")
        self.asked.append((path, await request.json() if request.can_read_body else None))
        said = self.says[path]
        # One answer for all, or one after the other.
        one = (said.pop(0) if len(said) > 1 else said[0]) if isinstance(said, list) else said
        if callable(one):
            answered: web.StreamResponse = await one(request)
            return answered
        return web.json_response(one)

    def times(self, path: str) -> int:
        return [one for one, _ in self.asked].count(path)


@pytest.fixture
async def fake(shop: Shop) -> AsyncIterator[Fake]:
    fake = Fake()
    kind = {"x402Version": 2, "scheme": "exact", "network": shop.network.id}
    fake.says = {"supported": {"kinds": [kind]}, "verify": {"isValid": True}}
    app = web.Application()
    app.router.add_route("*", "/x402/{tail:.*}", fake.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}/x402/"
    yield fake
    await runner.cleanup()


def network_of(shop: Shop, url: str, **more: Any) -> Network:
    plain = {"id": shop.network.id, "assets": shop.network.assets, "facilitator_url": url, **more}
    return Network.model_validate(plain)


@pytest.fixture
async def remote(shop: Shop, fake: Fake) -> AsyncIterator[RemoteFacilitator]:
    """It believes what it is told: it has no node."""
    remote = RemoteFacilitator(
        shop.pool, network_of(shop, fake.url, facilitator_authorization="Bearer of a key")
    )
    await remote.start()
    yield remote
    await remote.close()


@pytest.fixture
async def proving(shop: Shop, fake: Fake) -> AsyncIterator[RemoteFacilitator]:
    """It asks the chain as well."""
    remote = RemoteFacilitator(shop.pool, network_of(shop, fake.url, rpc_url=shop.chain.rpc_url))
    await remote.start()
    yield remote
    await remote.close()


def settled(shop: Shop, **change: Any) -> dict[str, Any]:
    answer = {
        "success": True, "transaction": HASH, "network": shop.network.id,
        "payer": shop.payer.address, "amount": str(PRICE), **change,
    }  # fmt: skip
    return {name: value for name, value in answer.items() if value is not None}


async def submitted(shop: Shop, remote: RemoteFacilitator) -> tuple[UUID, Authorization]:
    authorization = shop.sign()
    payment_id = await shop.claim(authorization)
    await remote.submit(payment_id, authorization, {})
    return payment_id, authorization


async def test_a_payment_is_verified_and_settled_by_asking(
    shop: Shop, fake: Fake, remote: RemoteFacilitator
) -> None:
    fake.says["settle"] = settled(shop)
    await remote.check(shop.sign())
    payment_id, authorization = await submitted(shop, remote)
    assert await remote.outcome(payment_id, 5) == Settlement("settled", HASH)
    asked = fake.asked[-1][1]
    assert asked["paymentPayload"]["payload"]["authorization"]["nonce"] == "0x" + authorization.nonce.hex()
    assert asked["paymentPayload"]["accepted"] == asked["paymentRequirements"]
    assert asked["paymentRequirements"]["amount"] == str(PRICE)


async def test_a_submission_whose_commit_nobody_heard_of_stands(
    shop: Shop, fake: Fake, remote: RemoteFacilitator, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.says["settle"] = settled(shop)
    run, lost = remote.submitting.run, list[Any]()

    async def committed_and_lost(batch: Any) -> Any:
        stood = await run(batch)
        if not lost:
            lost.append(stood)
            raise ConnectionResetError
        return stood

    monkeypatch.setattr(remote.submitting, "run", committed_and_lost)
    signed = [shop.sign() for _ in range(3)]
    claimed = [await shop.claim(one) for one in signed]
    await payments.void(shop.pool, claimed[1], "abandoned")
    asked = zip(claimed, signed, strict=True)
    results = await asyncio.gather(*(remote.submit(*one, {}) for one in asked), return_exceptions=True)
    assert [type(one) for one in results] == [type(None), PaymentNotClaimed, type(None)]
    assert await remote.outcome(claimed[0], 5) == Settlement("settled", HASH)


async def test_it_is_sent_the_authorization_that_the_settings_say(
    shop: Shop, fake: Fake, remote: RemoteFacilitator
) -> None:
    seen = []

    async def look(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        return web.json_response({"isValid": True})

    fake.says["verify"] = look
    await remote.check(shop.sign())
    assert seen == ["Bearer of a key"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"isValid": False, "invalidReason": "insufficient_funds"}, "insufficient_funds"),
        ({"isValid": False, "invalidReason": "<b>"}, None),          # its own trouble: no code at all
        ({"isValid": False, "invalidReason": "invalid_network"}, None),
        ({"isValid": "true"}, None),                                 # not a boolean
        ({"isValid": 1}, None),
        ({}, None),
        ([], None),
        ({"isValid": True, "payer": "0x" + "9" * 40}, None),         # about somebody else
    ],
)  # fmt: skip
async def test_a_verdict_is_a_clear_yes_or_no_or_none_at_all(
    shop: Shop, fake: Fake, remote: RemoteFacilitator, answer: Any, code: str | None
) -> None:
    fake.says["verify"] = answer
    try:
        await remote.check(shop.sign())
    except PaymentInvalid as error:
        assert error.code == code  # noqa: PT017 - which of the two it is, is what is tested
    except FacilitatorUnavailable:
        assert code is None
    else:
        raise AssertionError("it was accepted")


async def hang(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    raise AssertionError


async def page(request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>Welcome</html>", content_type="text/html")


async def away(request: web.Request) -> web.StreamResponse:
    return web.json_response({"success": True, "isValid": True}, status=503)


async def elsewhere(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/x402/other")


async def endless(request: web.Request) -> web.StreamResponse:
    return web.Response(text='{"success": true, "junk": "' + "x" * 100_000 + '"}')


async def deep(request: web.Request) -> web.StreamResponse:
    return web.Response(text="[" * 5_000)


async def truncated(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "500"})
    await response.prepare(request)
    await response.write(b'{"success": true, "transaction": "0xabab')
    assert request.transport is not None
    request.transport.close()
    return response


@pytest.mark.parametrize("broken", [hang, page, away, elsewhere, endless, deep, truncated])
async def test_an_answer_that_is_none_leaves_the_outcome_unknown_until_there_is_one(
    shop: Shop, fake: Fake, remote: RemoteFacilitator, broken: Answer
) -> None:
    fake.says["settle"] = [broken, settled(shop)]
    payment_id, _ = await submitted(shop, remote)
    assert (await remote.outcome(payment_id, 0.2)).outcome == "pending"
    assert await remote.outcome(payment_id, 0) == Settlement("settled", HASH)
    # The same question both times: nothing is signed anew, and nobody is asked to.
    first, second = [question for path, question in fake.asked if path == "settle"]
    assert first == second


@pytest.mark.parametrize("broken", [page, away, elsewhere, endless, deep, truncated])
async def test_a_payment_that_cannot_be_verified_is_not_taken(
    shop: Shop, fake: Fake, remote: RemoteFacilitator, broken: Answer
) -> None:
    fake.says["verify"] = broken
    with pytest.raises(FacilitatorUnavailable):
        await remote.check(shop.sign())


@pytest.mark.parametrize(
    "change",
    [
        {"success": "true"},
        {"success": "false"},
        {"success": 1},
        {"success": None},
        {"network": "eip155:1"},
        {"network": None},
        {"payer": "0x" + "9" * 40},
        {"payer": 7},
        {"amount": str(PRICE - 1)},
        {"amount": PRICE},
        {"transaction": ""},
        {"transaction": "0xab"},
        {"transaction": {}},
        {"success": False, "network": "eip155:1", "errorReason": "insufficient_funds"},
        {"success": False, "transaction": "", "errorReason": "settlement_pending"},
        {"success": False, "transaction": "", "errorReason": "invalid_exact_evm_nonce_already_used"},
        {"success": False, "transaction": "", "errorReason": "unexpected_settle_error"},
        {"success": False, "transaction": "", "errorReason": ["no"]},
    ],
)
async def test_an_answer_to_another_question_proves_nothing(
    shop: Shop, fake: Fake, remote: RemoteFacilitator, change: dict[str, Any]
) -> None:
    fake.says["settle"] = settled(shop, **change)
    payment_id, _ = await submitted(shop, remote)
    assert (await remote.outcome(payment_id, 0.1)).outcome == "pending"


@pytest.mark.parametrize("said", [None, "", "0x" + "00" * 20])
async def test_what_it_need_not_repeat_it_may_leave_out(
    shop: Shop, fake: Fake, remote: RemoteFacilitator, said: str | None
) -> None:
    fake.says["settle"] = settled(shop, payer=None, amount=None, extensions=said)
    payment_id, _ = await submitted(shop, remote)
    assert (await remote.outcome(payment_id, 1)).outcome == "settled"


async def test_only_the_first_answer_may_say_that_it_failed(
    shop: Shop, fake: Fake, remote: RemoteFacilitator
) -> None:
    """After an answer that was lost, an empty wallet may be one that has paid."""
    refused = {"success": False, "transaction": "", "network": "", "errorReason": "insufficient_funds"}
    fake.says["settle"] = [refused]
    payment_id, _ = await submitted(shop, remote)
    assert await remote.outcome(payment_id, 5) == Settlement("failed", "", "insufficient_funds")
    fake.says["settle"] = [away, refused]
    payment_id, _ = await submitted(shop, remote)
    assert (await remote.outcome(payment_id, 0.1)).outcome == "pending"
    assert (await remote.outcome(payment_id, 0)).outcome == "pending"


async def test_a_facilitator_that_was_never_reached_was_not_asked(
    shop: Shop, fake: Fake, remote: RemoteFacilitator
) -> None:
    refused = {"success": False, "transaction": "", "network": "", "errorReason": "insufficient_funds"}
    fake.says["settle"] = refused
    url, remote.url = remote.url, "http://127.0.0.1:1"
    payment_id, _ = await submitted(shop, remote)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(remote.outcome(payment_id, 5))
        await asyncio.sleep(0.2)
        remote.url = url
    assert waiting.result().outcome == "failed"


async def test_a_transaction_that_is_pending_is_written_down(
    shop: Shop, fake: Fake, remote: RemoteFacilitator
) -> None:
    pending = {"success": False, "errorReason": "settlement_pending", "transaction": HASH, "network": ""}
    fake.says["settle"] = [pending, settled(shop)]
    payment_id, _ = await submitted(shop, remote)
    assert await remote.outcome(payment_id, 0.1) == Settlement("pending", HASH)
    stored = await payments.get(shop.pool, payment_id)
    assert stored is not None
    assert stored.transaction_hash == bytes.fromhex(HASH[2:])
    assert (await remote.outcome(payment_id, 2)).outcome == "settled"


async def test_a_payment_that_somebody_else_decided_is_not_submitted(
    shop: Shop, fake: Fake, remote: RemoteFacilitator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_module, "UNASKED_SECONDS", -1)
    payment_id, authorization = await submitted(shop, remote)
    with pytest.raises(PaymentNotClaimed):
        await remote.submit(payment_id, authorization, {})
    await payments.fail(shop.pool, payment_id, "no")
    assert (await remote.outcome(payment_id, 0)).outcome == "failed"
    assert fake.times("settle") == 0


async def test_with_a_node_a_lie_is_no_settlement(shop: Shop, fake: Fake, proving: RemoteFacilitator) -> None:
    fake.says["settle"] = settled(shop)
    payment_id, authorization = await submitted(shop, proving)
    assert (await proving.outcome(payment_id, 0.2)).outcome == "pending"
    # Whoever sends it in the end: the chain says that it was paid.
    await shop.send_directly(authorization)
    theirs = shop.chain.node.blocks[-1]["transactions"][0]
    assert await proving.outcome(payment_id, 0.2) == Settlement("settled", theirs)


async def test_with_a_node_a_lost_answer_is_found_on_the_chain(
    shop: Shop, fake: Fake, proving: RemoteFacilitator
) -> None:
    authorization = shop.sign()

    async def settle_and_vanish(request: web.Request) -> web.StreamResponse:
        await shop.send_directly(authorization)
        return web.Response(status=502)

    fake.says["settle"] = settle_and_vanish
    payment_id = await shop.claim(authorization)
    await proving.submit(payment_id, authorization, {})
    assert (await proving.outcome(payment_id, 2)).outcome == "settled"
    assert fake.times("settle") == 1
    assert await shop.paid() == PRICE


async def test_with_a_node_a_failure_after_a_lost_answer_waits_for_the_proof(
    shop: Shop, fake: Fake, proving: RemoteFacilitator
) -> None:
    refused = {"success": False, "transaction": "", "network": "", "errorReason": "insufficient_funds"}
    fake.says["settle"] = [away, refused]
    authorization = shop.sign(seconds=2)
    payment_id = await shop.claim(authorization)
    await proving.submit(payment_id, authorization, {})
    assert (await proving.outcome(payment_id, 0.1)).outcome == "pending"
    await asyncio.sleep(2.2)
    await shop.chain.run(shop.chain.node.mine, [])
    settlement = await proving.outcome(payment_id, 0)
    assert settlement.failure == "invalid_exact_evm_payload_authorization_valid_before"


@pytest.mark.parametrize(
    "kinds",
    [
        [],
        [{"x402Version": 1, "scheme": "exact", "network": "base-sepolia"}],
        [{"x402Version": 2, "scheme": "upto", "network": "eip155:31337"}],
    ],
)
async def test_one_that_does_not_settle_here_is_refused_at_the_start(
    shop: Shop, fake: Fake, kinds: list[Any]
) -> None:
    fake.says["supported"] = {"kinds": kinds}
    remote = RemoteFacilitator(shop.pool, network_of(shop, fake.url))
    with pytest.raises(ChainMismatch, match="does not settle"):
        await remote.start()
    await remote.close()


async def test_one_that_is_down_does_not_stop_the_start(shop: Shop) -> None:
    remote = RemoteFacilitator(shop.pool, network_of(shop, "http://127.0.0.1:1/secret-key"))
    await remote.start()
    with pytest.raises(FacilitatorUnavailable) as caught:
        await remote.check(shop.sign())
    assert "secret-key" not in str(caught.value)
    await remote.close()


@pytest.mark.parametrize(
    "settings",
    [
        {},                                                                    # nobody
        {"rpc_url": "http://node"},                                            # a node and no key
        {"facilitator_keys": ["0x" + "11" * 32]},                              # a key and no node
        {"facilitator_url": "https://one", "facilitator_key": "0x" + "11" * 32},
        {"rpc_url": "http://node", "facilitator_keys": ["0x12"]},
    ],
)  # fmt: skip
def test_a_network_has_exactly_one_facilitator(shop: Shop, settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Network.model_validate({"id": "eip155:31337", "assets": shop.network.assets, **settings})
