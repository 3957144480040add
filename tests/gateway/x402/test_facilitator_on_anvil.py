"""The facilitator on another make of node than our own, with its own words for everything."""

from typing import cast

import pytest
from eth_account import Account

from control.demo.chain import Chain
from gateway.kit.sql import Pool
from gateway.x402 import payments
from gateway.x402.facilitator import PaymentInvalid
from gateway.x402.local import LocalFacilitator
from tests.anvil import Anvil
from tests.gateway.x402.shop import PRICE, opened


async def test_payments_settle_on_anvil_even_when_the_first_was_not_sent(anvil: Anvil, pool: Pool) -> None:
    shop = await opened(cast(Chain, anvil), pool, await anvil.deploy_token())
    facilitator = LocalFacilitator(pool, shop.network)
    await facilitator.start()
    signed = [shop.sign() for _ in range(3)]
    claimed = [await shop.claim(one) for one in signed]
    for one in signed:
        await facilitator.check(one)
    await facilitator.store(claimed[0], signed[0], {})
    await facilitator.submit(claimed[1], signed[1], {})
    await facilitator.submit(claimed[2], signed[2], {})
    outcomes = [(await facilitator.outcome(one, 30)).outcome for one in reversed(claimed)]
    assert outcomes == ["settled"] * 3
    assert await shop.paid() == 3 * PRICE
    with pytest.raises(PaymentInvalid) as used:
        await facilitator.check(signed[0])
    with pytest.raises(PaymentInvalid) as poor:
        await facilitator.check(shop.sign(payer=Account.create()))
    with pytest.raises(PaymentInvalid) as overdrawn:
        await facilitator.check(shop.sign(amount=100 * PRICE))
    assert used.value.code == "invalid_exact_evm_nonce_already_used"
    assert poor.value.code == overdrawn.value.code == "insufficient_funds"
    await facilitator.close()


async def test_somebody_elses_transaction_is_found_on_anvil(anvil: Anvil, pool: Pool) -> None:
    shop = await opened(cast(Chain, anvil), pool, await anvil.deploy_token())
    facilitator = LocalFacilitator(pool, shop.network)
    authorization = shop.sign()
    payment_id = await shop.claim(authorization)
    await shop.send_directly(authorization)
    await facilitator.submit(payment_id, authorization, {})
    settlement = await facilitator.outcome(payment_id, 30)
    stored = await payments.get(pool, payment_id)
    await facilitator.close()
    assert settlement.outcome == "settled"
    assert stored is not None
    assert stored.transaction_hash is not None
    assert settlement.transaction != "0x" + stored.transaction_hash.hex()
    assert await shop.paid() == PRICE
