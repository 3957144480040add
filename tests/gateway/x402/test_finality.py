"""Chains that take back what they had, on a node that can do so."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from config.settings import Depth, Network
from control.demo.chain import Chain
from gateway.kit.sql import Pool
from gateway.x402 import finality, payments
from gateway.x402.facilitator import Authorization, FacilitatorUnavailable
from gateway.x402.local import LocalFacilitator
from gateway.x402.settlement import Settlements
from tests.anvil import Anvil
from tests.gateway.x402.shop import PRICE, Shop, opened

NOW = timedelta(0)


@dataclass
class Settler:
    anvil: Anvil
    shop: Shop
    facilitator: LocalFacilitator
    settlements: Settlements

    async def settle(self, authorization: Authorization) -> UUID:
        payment_id = await self.shop.claim(authorization)
        # A deposit needs no publisher.
        await self.shop.pool.execute("UPDATE payments SET purpose = 'deposit' WHERE id = $1", payment_id)
        settlement = await self.settlements.settle(payment_id, authorization, {})
        assert settlement.outcome == "settled"
        return payment_id

    async def state(self, payment_id: UUID) -> tuple[bool, bool]:
        """Whether it is final, and whether it is lost."""
        row = await self.shop.pool.fetchrow(
            "SELECT final_at, lost_at FROM payments WHERE id = $1", payment_id
        )
        assert row is not None
        return row["final_at"] is not None, row["lost_at"] is not None


@pytest.fixture
async def settler(anvil: Anvil, pool: Pool) -> AsyncIterator[Settler]:
    shop = await opened(cast(Chain, anvil), pool, await anvil.deploy_token())
    facilitator = LocalFacilitator(pool, shop.network.model_copy(update={"final_blocks": 5}))
    await facilitator.start()
    network = shop.network.id
    yield Settler(anvil, shop, facilitator, Settlements(pool, {network: facilitator}, {network: 5}))
    await facilitator.close()


async def test_a_payment_is_final_once_it_is_deep_enough(settler: Settler) -> None:
    payment_id = await settler.settle(settler.shop.sign())
    await finality.recheck(settler.settlements, NOW)
    assert await settler.state(payment_id) == (False, False)
    await settler.anvil.ask("anvil_mine", hex(4))
    assert await finality.recheck(settler.settlements, NOW) == 1
    assert await settler.state(payment_id) == (True, False)
    assert await finality.recheck(settler.settlements, NOW) == 0


async def test_more_than_are_asked_for_at_once_are_all_looked_at(
    settler: Settler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finality, "BATCH", 3)
    monkeypatch.setattr(finality, "ASKED_AT_ONCE", 2)
    ids = [await settler.settle(settler.shop.sign()) for _ in range(5)]
    await settler.anvil.ask("anvil_mine", hex(4))
    assert [await finality.recheck(settler.settlements, NOW) for _ in range(3)] == [3, 2, 0]
    assert [await settler.state(one) for one in ids] == [(True, False)] * 5


async def test_a_payment_that_vanished_is_sent_again(settler: Settler) -> None:
    snapshot = await settler.anvil.ask("evm_snapshot")
    payment_id = await settler.settle(settler.shop.sign())
    assert await settler.shop.paid() == PRICE
    assert await settler.anvil.ask("evm_revert", snapshot)
    assert await settler.shop.paid() == 0
    with capture_logs() as logs:
        await finality.recheck(settler.settlements, NOW)
    assert "payment.vanished" in [one["event"] for one in logs]
    assert await settler.shop.paid() == PRICE
    await settler.anvil.ask("anvil_mine", hex(5))
    await finality.recheck(settler.settlements, NOW)
    assert await settler.state(payment_id) == (True, False)


async def test_a_payment_that_can_never_settle_again_is_marked(settler: Settler) -> None:
    snapshot = await settler.anvil.ask("evm_snapshot")
    payment_id = await settler.settle(settler.shop.sign())
    assert await settler.anvil.ask("evm_revert", snapshot)
    await settler.anvil.ask("evm_increaseTime", 1000)
    await settler.anvil.ask("anvil_mine", hex(3))
    with capture_logs() as logs:
        for _ in range(3):
            await finality.recheck(settler.settlements, NOW)
            if (await settler.state(payment_id))[1]:
                break
    assert "payment.lost" in [one["event"] for one in logs]
    assert await settler.state(payment_id) == (True, True)
    assert await settler.shop.paid() == 0
    # What was booked stands: what becomes of it is not for a job to decide.
    known = await payments.get(settler.shop.pool, payment_id)
    assert known is not None
    assert known.state == "settled"


async def test_somebody_elses_transaction_after_a_reorganization_counts(settler: Settler) -> None:
    authorization = settler.shop.sign()
    snapshot = await settler.anvil.ask("evm_snapshot")
    payment_id = await settler.settle(authorization)
    before = await payments.get(settler.shop.pool, payment_id)
    assert await settler.anvil.ask("evm_revert", snapshot)
    await settler.shop.send_directly(authorization)
    after = before
    for _ in range(5):
        await finality.recheck(settler.settlements, NOW)
        after = await payments.get(settler.shop.pool, payment_id)
        if after != before:
            break
    assert before is not None
    assert after is not None
    assert before.transaction_hash != after.transaction_hash
    await settler.anvil.ask("anvil_mine", hex(5))
    await finality.recheck(settler.settlements, NOW)
    assert await settler.state(payment_id) == (True, False)


async def test_a_node_that_is_away_decides_nothing(settler: Settler, monkeypatch: pytest.MonkeyPatch) -> None:
    payment_id = await settler.settle(settler.shop.sign())

    async def away(*_: object) -> None:
        raise FacilitatorUnavailable("away")

    monkeypatch.setattr(settler.facilitator.chain, "ask_all", away)
    await finality.recheck(settler.settlements, NOW)
    assert await settler.state(payment_id) == (False, False)


@pytest.mark.parametrize(
    ("amount", "decimals", "depth"),
    [
        (0, 6, 2),
        (9_999_999, 6, 2),
        (10_000_000, 6, 5),
        (999_999_999, 6, 5),
        (1_000_000_000, 6, 30),
        (10 * 10**18 - 1, 18, 2),
        (10 * 10**18, 18, 5),
        (10**77, 18, 30),
    ],
)
def test_dearer_payments_wait_for_more_blocks(amount: int, decimals: int, depth: int) -> None:
    steps: Any = [Depth(amount="1000", confirmations=30), Depth(amount="10", confirmations=5)]  # type: ignore[arg-type]
    asset = {"address": "0x" + "1" * 40, "symbol": "T", "decimals": 6, "name": "T", "version": "1"}
    network = Network.model_validate(
        {
            "id": "eip155:1", "assets": [asset], "facilitator_url": "https://f",
            "confirmations": 2, "confirmations_from": steps,
        }
    )  # fmt: skip
    assert network.depth(amount, decimals) == depth
