"""Payouts on a chain: each arrives once, whatever dies in between, and the ledger says where the money is."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from control.demo import token
from control.demo.chain import Chain
from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import accounts, payouts
from gateway.ledger.payouts import Request
from gateway.x402 import payouts as sending
from gateway.x402.exact import keccak
from gateway.x402.local import LocalFacilitator
from gateway.x402.sending import Sending
from tests.anvil import Anvil
from tests.arrivals import arrive
from tests.gateway.conftest import Ledger
from tests.gateway.x402.shop import PRICE, Open, Shop, opened

NOW = timedelta(0)
RECEIVER = "0x" + "c0" * 20
APPROVE = bytes.fromhex("095ea7b3")


@dataclass
class Cashier:
    """An organization with earnings, and workers that pay them out."""

    shop: Shop
    ledger: Ledger
    owner: UUID
    publisher_id: UUID

    async def ask(self, amount: int = PRICE, destination: str = RECEIVER) -> UUID:
        request = Request(
            ids.new(), self.publisher_id, self.owner, self.shop.asset.id, amount, destination, "earnings",
            None, bytes(32),
        )  # fmt: skip
        async with self.shop.pool.acquire() as connection, connection.transaction():
            assert await payouts.request(connection, request)
        return request.id

    async def work(self, facilitator: LocalFacilitator, times: int = 1) -> None:
        for _ in range(times):
            await sending.work(self.shop.pool, {self.shop.network.id: facilitator}, NOW, NOW)

    async def one(self, payout_id: UUID) -> payouts.Payout:
        found = await payouts.find(self.shop.pool, payout_id)
        assert found is not None
        return found

    async def arrived(self, receiver: str = RECEIVER) -> int:
        return await self.shop.chain.balance(self.shop.asset.address, receiver)

    async def balances(self) -> tuple[int, int]:
        """Earned, and on its way."""
        earned, _ = await self.ledger.balance(self.owner, self.shop.asset, "earnings")
        leaving, _ = await self.ledger.balance(self.owner, self.shop.asset, "payouts")
        return earned, leaving

    async def is_final(self, payout_id: UUID) -> bool:
        found = await self.shop.pool.fetchval("SELECT final_at FROM payouts WHERE id = $1", payout_id)
        return found is not None

    async def transactions(self) -> int:
        return int(await self.shop.pool.fetchval("SELECT count(*) FROM chain_transactions"))

    async def approve(self, owner: LocalAccount, facilitator: LocalFacilitator, amount: int) -> None:
        data = APPROVE + token.word(facilitator.signers[0].address) + amount.to_bytes(32)
        await self.shop.chain.transact(self.shop.asset.address, data, sender=owner)


async def cashier_of(shop: Shop, earned: int = 20 * PRICE) -> Cashier:
    ledger = Ledger(shop.pool)
    owner = await ledger.organization()
    earnings = await accounts.ensure(shop.pool, owner, shop.asset.id, "earnings")
    await arrive(shop.pool, earnings, shop.asset.id, earned, "earned")
    return Cashier(shop, ledger, owner, await ledger.publisher(owner))


@pytest.fixture
async def cashier(shop: Shop, facilitator: LocalFacilitator) -> Cashier:
    """The signer has the tokens itself."""
    await shop.chain.mint(shop.asset.address, facilitator.signers[0].address, 20 * PRICE)
    return await cashier_of(shop)


async def test_a_payout_is_submitted_arrives_and_is_final(cashier: Cashier, another: Open) -> None:
    facilitator = await another(final_blocks=2)
    payout_id = await cashier.ask()
    assert await cashier.balances() == (19 * PRICE, PRICE)
    await cashier.work(facilitator)
    submitted = await cashier.one(payout_id)
    assert (submitted.state, len(submitted.hashes)) == ("submitted", 1)
    assert await cashier.balances() == (19 * PRICE, PRICE)
    await cashier.work(facilitator)
    sent = await cashier.one(payout_id)
    assert (sent.state, sent.known_hash) == ("sent", submitted.hashes[0])
    assert await cashier.balances() == (19 * PRICE, 0)
    assert await cashier.arrived() == PRICE
    await cashier.work(facilitator)
    assert not await cashier.is_final(payout_id)
    await cashier.shop.chain.fund(RECEIVER)
    await cashier.work(facilitator)
    assert await cashier.is_final(payout_id)
    await cashier.work(facilitator, 3)
    assert await cashier.transactions() == 1
    assert await cashier.ledger.is_sound()
    events = await cashier.shop.pool.fetch("SELECT type FROM events ORDER BY created_at")
    assert [event["type"] for event in events] == ["payout.requested", "payout.sent"]


async def test_a_payout_comes_from_the_wallet_that_lets_the_key(
    chain: Chain, shop: Shop, another: Open
) -> None:
    wallet = chain.accounts[4]
    facilitator = await another(pay_to=wallet.address)
    cashier = await cashier_of(shop)
    await chain.mint(shop.asset.address, wallet.address, 3 * PRICE)
    payout_id = await cashier.ask(2 * PRICE)
    await cashier.work(facilitator, 2)
    # Nothing is sent, nothing is lost: it waits for the operator.
    assert ((await cashier.one(payout_id)).state, await cashier.transactions()) == ("requested", 0)
    await cashier.approve(wallet, facilitator, 2 * PRICE)
    await cashier.work(facilitator, 2)
    assert ((await cashier.one(payout_id)).state, await cashier.arrived()) == ("sent", 2 * PRICE)
    assert await chain.balance(shop.asset.address, wallet.address) == PRICE


async def test_a_transfer_that_the_token_refuses_is_never_signed(
    cashier: Cashier, facilitator: LocalFacilitator
) -> None:
    # The test token refuses the zero address, which a request with a checked destination never has.
    payout_id = await cashier.ask(destination="0x" + "00" * 20)
    await cashier.work(facilitator)
    failed = await cashier.one(payout_id)
    assert (failed.state, failed.failure) == ("failed", "the token refuses the transfer to this wallet")
    assert (await cashier.balances(), await cashier.transactions()) == ((20 * PRICE, 0), 0)
    assert await cashier.ledger.is_sound()


class Killed(BaseException):
    """What no code catches, as nothing catches a kill."""


@pytest.mark.parametrize(
    ("step", "state", "signed"),
    [
        ("gateway.x402.payouts.is_refused", "requested", 0),
        ("gateway.x402.transactions.take_nonces", "requested", 0),
        ("gateway.x402.transactions.store", "requested", 0),
        ("gateway.x402.sending.Sending.send", "submitted", 1),
        ("gateway.x402.payouts.look", "submitted", 1),
        ("gateway.ledger.payouts.sent", "submitted", 1),
        ("gateway.ledger.payouts.tell", "submitted", 1),
        ("gateway.ledger.payouts.confirm", "submitted", 1),
    ],
)
async def test_a_process_may_die_at_any_step(
    cashier: Cashier, another: Open, monkeypatch: pytest.MonkeyPatch, step: str, state: str, signed: int
) -> None:
    payout_id = await cashier.ask()
    dying, heir = await another(final_blocks=1), await another(final_blocks=1)

    async def dies(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(step, dies)
        with pytest.raises(Killed):
            await cashier.work(dying, 3)
    interrupted = await cashier.one(payout_id)
    assert (interrupted.state, await cashier.transactions()) == (state, signed)
    await cashier.work(heir, 4)
    sent = await cashier.one(payout_id)
    assert (sent.state, await cashier.transactions(), await cashier.arrived()) == ("sent", 1, PRICE)
    assert await cashier.balances() == (19 * PRICE, 0)
    assert await cashier.ledger.is_sound()


@pytest.mark.parametrize(
    ("step", "state"),
    [
        ("gateway.x402.transactions.store", "requested"),
        ("gateway.x402.sending.Sending.send", "submitted"),
        ("gateway.ledger.payouts.tell", "submitted"),
    ],
)
async def test_a_process_that_is_killed_has_an_heir(
    cashier: Cashier, facilitator: LocalFacilitator, server: str, database: str, step: str, state: str
) -> None:
    payout_id = await cashier.ask()
    network = cashier.shop.network
    assert network.facilitator_key is not None
    plain = network.model_dump(mode="json", exclude_none=True)
    plain["facilitator_key"] = network.facilitator_key.get_secret_value()
    dsn = server.replace("/postgres?", f"/{database}?")
    program = [sys.executable, "-m", "tests.gateway.x402.dying", step, dsn, json.dumps(plain)]
    process = await asyncio.create_subprocess_exec(*program)
    assert await process.wait() == -signal.SIGKILL
    assert (await cashier.one(payout_id)).state == state
    # Its session may outlive it for a moment, with the payout's row locked: nobody waits for a row.
    async with asyncio.timeout(30):
        while (await cashier.one(payout_id)).state != "sent":
            await cashier.work(facilitator)
    assert ((await cashier.one(payout_id)).state, await cashier.transactions()) == ("sent", 1)
    assert (await cashier.arrived(), await cashier.balances()) == (PRICE, (19 * PRICE, 0))
    assert await cashier.ledger.is_sound()


async def test_two_workers_send_each_payout_once(cashier: Cashier, another: Open, crowd: Pool) -> None:
    asked = [await cashier.ask() for _ in range(10)]
    one, two = await another(), await another()
    for _ in range(4):
        await asyncio.gather(*(cashier.work(worker) for worker in (one, two, one, two)))
    assert {(await cashier.one(payout_id)).state for payout_id in asked} == {"sent"}
    assert (await cashier.transactions(), await cashier.arrived()) == (10, 10 * PRICE)
    assert await cashier.balances() == (10 * PRICE, 0)
    assert await cashier.ledger.is_sound()


async def test_more_is_never_promised_than_the_wallet_has(
    cashier: Cashier, facilitator: LocalFacilitator
) -> None:
    asked = [await cashier.ask(8 * PRICE), await cashier.ask(12 * PRICE)]
    for payout_id in asked:
        # The second counts what the first is about to take, or has taken and was not seen to.
        await sending.send(cashier.shop.pool, facilitator, await cashier.one(payout_id))
    assert [(await cashier.one(one)).state for one in asked] == ["submitted", "requested"]
    await cashier.work(facilitator, 3)
    assert [(await cashier.one(one)).state for one in asked] == ["sent", "sent"]


@dataclass
class OnAnvil:
    """On a node that can be stopped from mining, and made to forget."""

    anvil: Anvil
    cashier: Cashier
    facilitator: LocalFacilitator

    async def work(self, times: int = 1) -> None:
        await self.cashier.work(self.facilitator, times)

    async def mine(self, blocks: int = 1) -> None:
        await self.anvil.ask("anvil_mine", hex(blocks))


@pytest.fixture
async def on_anvil(anvil: Anvil, pool: Pool) -> AsyncIterator[OnAnvil]:
    shop = await opened(cast(Chain, anvil), pool, await anvil.deploy_token())
    changes: dict[str, Any] = {"final_blocks": 5, "replace_after_seconds": 0.001}
    facilitator = LocalFacilitator(pool, shop.network.model_copy(update=changes))
    await facilitator.start()
    await anvil.mint(shop.asset.address, facilitator.signers[0].address, 20 * PRICE)
    yield OnAnvil(anvil, await cashier_of(shop), facilitator)
    await facilitator.close()


async def test_a_stuck_payout_is_replaced_and_arrives_once(on_anvil: OnAnvil) -> None:
    cashier = on_anvil.cashier
    await on_anvil.anvil.ask("evm_setAutomine", False)
    payout_id = await cashier.ask()
    await on_anvil.work(4)
    stuck = await cashier.one(payout_id)
    assert stuck.state == "submitted"
    assert len(stuck.hashes) > 1
    await on_anvil.mine(1)
    await on_anvil.work()
    sent = await cashier.one(payout_id)
    assert (sent.state, await cashier.arrived()) == ("sent", PRICE)
    assert sent.known_hash in stuck.hashes
    await on_anvil.mine(6)
    await on_anvil.work(2)
    assert await cashier.is_final(payout_id)
    assert await cashier.arrived() == PRICE
    assert await cashier.ledger.is_sound()


async def test_a_payout_that_a_reorganization_took_back_is_sent_again(on_anvil: OnAnvil) -> None:
    cashier = on_anvil.cashier
    snapshot = await on_anvil.anvil.ask("evm_snapshot")
    payout_id = await cashier.ask()
    await on_anvil.work(2)
    assert ((await cashier.one(payout_id)).state, await cashier.arrived()) == ("sent", PRICE)
    assert await on_anvil.anvil.ask("evm_revert", snapshot)
    assert await cashier.arrived() == 0
    await on_anvil.work(2)
    assert await cashier.arrived() == PRICE
    await on_anvil.mine(6)
    await on_anvil.work(2)
    assert await cashier.is_final(payout_id)
    assert (await cashier.arrived(), await cashier.balances()) == (PRICE, (19 * PRICE, 0))
    final = await cashier.one(payout_id)
    assert final.known_hash in final.hashes
    assert await cashier.ledger.is_sound()


async def test_what_reverts_on_chain_comes_back_once_that_is_final(on_anvil: OnAnvil) -> None:
    cashier, anvil, asset = on_anvil.cashier, on_anvil.anvil, on_anvil.cashier.shop.asset.address
    signer = on_anvil.facilitator.signers[0]
    await anvil.ask("evm_setAutomine", False)
    payout_id = await cashier.ask(20 * PRICE)
    await on_anvil.work()
    # After it was simulated and signed, the tokens are gone.
    slot = await balance_slot(anvil, asset, signer.address, 20 * PRICE)
    await anvil.ask("anvil_setStorageAt", asset, slot, "0x" + (0).to_bytes(32).hex())
    await on_anvil.mine(1)
    await on_anvil.work(2)
    # Reverted, and a reorganization could still have it succeed.
    assert ((await cashier.one(payout_id)).state, await cashier.balances()) == ("submitted", (0, 20 * PRICE))
    await on_anvil.mine(5)
    await on_anvil.work()
    failed = await cashier.one(payout_id)
    assert (failed.state, failed.failure) == ("failed", "the token refused the transfer on chain")
    assert (await cashier.balances(), await cashier.arrived()) == ((20 * PRICE, 0), 0)
    assert await cashier.ledger.is_sound()


async def test_what_a_reorganization_made_impossible_comes_back(on_anvil: OnAnvil) -> None:
    cashier, anvil, asset = on_anvil.cashier, on_anvil.anvil, on_anvil.cashier.shop.asset.address
    slot = await balance_slot(anvil, asset, on_anvil.facilitator.signers[0].address, 20 * PRICE)
    snapshot = await anvil.ask("evm_snapshot")
    payout_id = await cashier.ask()
    await on_anvil.work(2)
    assert (await cashier.one(payout_id)).state == "sent"
    assert await anvil.ask("evm_revert", snapshot)
    await anvil.ask("anvil_setStorageAt", asset, slot, "0x" + (0).to_bytes(32).hex())
    await on_anvil.work(2)
    assert ((await cashier.one(payout_id)).state, await cashier.balances()) == ("sent", (19 * PRICE, 0))
    await on_anvil.mine(6)
    await on_anvil.work()
    returned = await cashier.one(payout_id)
    assert (returned.state, await cashier.balances()) == ("returned", (20 * PRICE, 0))
    assert await cashier.arrived() == 0
    assert await cashier.ledger.is_sound()


async def balance_slot(anvil: Anvil, asset: str, owner: str, balance: int) -> str:
    """Where the token keeps it: Vyper hashes the slot of a map before the key."""
    for place in range(8):
        preimage = place.to_bytes(32) + token.word(owner)
        slot = "0x" + keccak(preimage).hex()
        if int(await anvil.ask("eth_getStorageAt", asset, slot, "latest"), 16) == balance:
            return slot
    raise LookupError("the token keeps its balances elsewhere")


async def test_a_key_that_was_used_elsewhere_leaves_a_doubt(
    on_anvil: OnAnvil, monkeypatch: pytest.MonkeyPatch
) -> None:
    cashier, signer = on_anvil.cashier, on_anvil.facilitator.signers[0]
    payout_id = await cashier.ask()

    async def lost(*_: object) -> None:
        """The process dies before it sends."""

    with monkeypatch.context() as patched:
        patched.setattr(Sending, "send", lost)
        await on_anvil.work()
    assert (await cashier.one(payout_id)).state == "submitted"
    key = "0x" + signer.key.secret.hex()
    await somebody_uses(on_anvil, Account.from_key(key))
    await on_anvil.mine(6)
    await on_anvil.work(2)
    doubtful = await cashier.one(payout_id)
    assert (doubtful.state, await cashier.balances()) == ("submitted", (19 * PRICE, PRICE))
    assert doubtful.doubt is not None
    assert "nonce" in doubtful.doubt
    await on_anvil.work(2)
    assert await cashier.arrived() == 0


async def somebody_uses(on_anvil: OnAnvil, account: LocalAccount) -> None:
    nonce = int(await on_anvil.anvil.ask("eth_getTransactionCount", account.address, "latest"), 16)
    signed = account.sign_transaction(
        {
            "type": 2,
            "chainId": on_anvil.anvil.chain_id,
            "nonce": nonce,
            "to": account.address,
            "value": 0,
            "gas": 21_000,
            "maxFeePerGas": 10**11,
            "maxPriorityFeePerGas": 10**9,
        }
    )
    await on_anvil.anvil.ask("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex())
