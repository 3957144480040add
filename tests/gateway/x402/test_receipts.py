"""A payment after its transaction is stored, and all that can go wrong on the way to its receipt."""

import asyncio
import time
from pathlib import Path

import pytest
from eth_account import Account
from vyper.compiler import compile_code

from control.demo import token as demo_token
from control.demo.chain import Chain
from gateway.kit.sql import Pool
from gateway.x402 import token
from gateway.x402.facilitator import Authorization, FacilitatorUnavailable, Settlement
from gateway.x402.local import LocalFacilitator
from tests.gateway.x402.shop import PAY_TO, PRICE, Open, Shop, as_secret, opened


async def test_a_payer_who_drains_the_wallet_after_the_check_has_not_paid(
    shop: Shop, facilitator: LocalFacilitator
) -> None:
    authorization = shop.sign()
    payment_id = await shop.claim(authorization)
    await facilitator.check(authorization)
    await drain(shop)
    await facilitator.submit(payment_id, authorization, {})
    settlement = await facilitator.outcome(payment_id, 30)
    assert (settlement.outcome, settlement.failure) == ("failed", "insufficient_funds")
    assert await shop.paid() == 0


@pytest.mark.parametrize(
    "moved",
    [
        "pass",                                              # it takes the authorization and moves nothing
        "self._move(sender, receiver, amount - 1)",          # it keeps a fee
        "self._move(sender, minter, amount)",                # it pays somebody else
        "log Transfer(sender=sender, receiver=receiver, amount=amount - 1)",
    ],
)  # fmt: skip
async def test_a_transaction_without_the_signed_transfer_has_not_paid(
    chain: Chain, pool: Pool, moved: str
) -> None:
    """Status 1 alone says nothing: there are tokens that do not revert."""
    honest = Path(demo_token.__file__).with_suffix(".vy").read_text()
    statement = "log AuthorizationUsed(authorizer=sender, nonce=nonce)\n    "
    dishonest = honest.replace(statement + "self._move(sender, receiver, amount)", statement + moved)
    assert dishonest != honest
    bytecode = compile_code(dishonest, output_formats=["bytecode"])["bytecode"]
    receipt = await chain.transact(None, bytes.fromhex(bytecode[2:]))
    shop = await opened(chain, pool, receipt["contractAddress"])
    facilitator = LocalFacilitator(pool, shop.network)
    authorization = shop.sign()
    payment_id = await shop.claim(authorization)
    await facilitator.submit(payment_id, authorization, {})
    settlement = await facilitator.outcome(payment_id, 30)
    await facilitator.close()
    assert settlement.failure == "invalid_exact_evm_transfer_event_mismatch"
    assert settlement.outcome == "failed"


async def drain(shop: Shop) -> None:
    await shop.chain.fund(shop.payer.address)
    everything = demo_token.transfer(shop.chain.accounts[9].address, 100 * PRICE)
    await shop.chain.transact(shop.asset.address, everything, sender=shop.payer)


async def test_a_transaction_that_was_stored_but_not_sent_is_sent_by_whoever_asks(
    shop: Shop, facilitator: LocalFacilitator, another: Open
) -> None:
    """The process ends between the commit and the send."""
    authorization = shop.sign()
    payment_id = await shop.claim(authorization)
    await facilitator.store(payment_id, authorization, {})
    assert await shop.paid() == 0
    settlement = await (await another()).outcome(payment_id, 30)
    assert settlement.outcome == "settled"
    assert await shop.paid() == PRICE


async def test_a_transaction_that_was_never_sent_does_not_hold_up_the_next(
    shop: Shop, facilitator: LocalFacilitator
) -> None:
    lost, next_one = shop.sign(), shop.sign()
    lost_id, next_id = await shop.claim(lost), await shop.claim(next_one)
    await facilitator.store(lost_id, lost, {})
    await facilitator.submit(next_id, next_one, {})
    assert (await facilitator.outcome(next_id, 30)).outcome == "settled"
    assert (await facilitator.outcome(lost_id, 0)).outcome == "settled"
    assert await shop.paid() == 2 * PRICE


async def test_somebody_elses_transaction_pays_as_well_as_ours(
    shop: Shop, facilitator: LocalFacilitator
) -> None:
    authorization = shop.sign()
    payment_id = await shop.claim(authorization)
    await shop.send_directly(authorization)
    theirs = shop.chain.node.blocks[-1]["transactions"][0]
    await facilitator.submit(payment_id, authorization, {})
    assert await facilitator.outcome(payment_id, 30) == Settlement("settled", theirs)
    assert await shop.paid() == PRICE


async def test_a_canceled_authorization_fails(shop: Shop, facilitator: LocalFacilitator) -> None:
    authorization = shop.sign()
    payment_id = await shop.claim(authorization)
    await cancel(shop, authorization)
    await facilitator.submit(payment_id, authorization, {})
    settlement = await facilitator.outcome(payment_id, 30)
    assert (settlement.outcome, settlement.failure) == ("failed", "invalid_exact_evm_nonce_already_used")


async def cancel(shop: Shop, authorization: Authorization) -> None:
    domain = {
        "name": shop.asset.name,
        "version": shop.asset.version,
        "chainId": shop.asset.chain_id,
        "verifyingContract": shop.asset.address,
    }
    fields = [{"name": "authorizer", "type": "address"}, {"name": "nonce", "type": "bytes32"}]
    message = {"authorizer": shop.payer.address, "nonce": authorization.nonce}
    signed = Account.sign_typed_data(shop.payer.key, domain, {"CancelAuthorization": fields}, message)
    form = signed.v.to_bytes(32) + signed.r.to_bytes(32) + signed.s.to_bytes(32)
    selector = token.selector(b"cancelAuthorization(address,bytes32,uint8,bytes32,bytes32)")
    data = selector + token.word(authorization.payer) + authorization.nonce + form
    await shop.chain.transact(shop.asset.address, data, sender=shop.chain.accounts[5])


async def test_a_key_that_was_used_elsewhere_signs_on_from_there(
    shop: Shop, facilitator: LocalFacilitator
) -> None:
    """The nonce is gone and with it our transaction, but the authorization may still be used by anybody."""
    account = Account.from_key(shop.network.keys[0])
    await shop.chain.transact(PAY_TO, b"", sender=account)
    first, second = shop.sign(), shop.sign()
    first_id, second_id = await shop.claim(first), await shop.claim(second)
    await facilitator.submit(first_id, first, {})
    await facilitator.submit(second_id, second, {})
    assert (await facilitator.outcome(second_id, 30)).outcome == "settled"
    assert (await facilitator.outcome(first_id, 0)).outcome == "pending"
    await shop.send_directly(first)
    assert (await facilitator.outcome(first_id, 0)).outcome == "settled"
    assert await shop.paid() == 2 * PRICE


async def test_a_transaction_that_no_node_takes_is_pending_until_it_can_never_settle(
    shop: Shop, another: Open
) -> None:
    poor = await another(facilitator_key=as_secret(Account.create()))
    authorization = shop.sign(seconds=1)
    payment_id = await shop.claim(authorization)
    await poor.submit(payment_id, authorization, {})
    assert (await poor.outcome(payment_id, 0)).outcome == "pending"
    await asyncio.sleep(authorization.valid_before - time.time() + 0.1)
    # Our clock proves nothing; the next block's does.
    assert (await poor.outcome(payment_id, 0)).outcome == "pending"
    await shop.chain.run(shop.chain.node.mine, [])
    settlement = await poor.outcome(payment_id, 0)
    assert settlement.failure == "invalid_exact_evm_payload_authorization_valid_before"
    assert settlement.outcome == "failed"


async def test_a_payment_is_pending_until_it_is_mined_and_deep_enough(shop: Shop, another: Open) -> None:
    patient = await another(confirmations=3)
    authorization = shop.sign()
    payment_id = await shop.claim(authorization)
    shop.chain.node.is_automining = False
    await patient.submit(payment_id, authorization, {})
    outcomes = [(await patient.outcome(payment_id, 0.1)).outcome]
    await shop.chain.run(shop.chain.node.mine_waiting)
    for _ in range(2):
        outcomes.append((await patient.outcome(payment_id, 0)).outcome)
        await shop.chain.run(shop.chain.node.mine, [])
    outcomes.append((await patient.outcome(payment_id, 0)).outcome)
    assert outcomes == ["pending", "pending", "pending", "settled"]


async def test_an_outcome_arrives_as_soon_as_the_block_does(
    shop: Shop, facilitator: LocalFacilitator
) -> None:
    authorization = shop.sign()
    payment_id = await shop.claim(authorization)
    shop.chain.node.is_automining = False
    await facilitator.submit(payment_id, authorization, {})
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(facilitator.outcome(payment_id, 30))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await shop.chain.run(shop.chain.node.mine_waiting)
        # Whoever looks only when the time is up finds it pending.
        assert (await waiting).outcome == "settled"


async def test_a_node_that_goes_down_leaves_the_payment_pending(
    shop: Shop, facilitator: LocalFacilitator
) -> None:
    authorization = shop.sign()
    payment_id = await shop.claim(authorization)
    await facilitator.check(authorization)
    shop.chain.is_refusing = True
    await facilitator.submit(payment_id, authorization, {})
    with pytest.raises(FacilitatorUnavailable):
        await facilitator.check(shop.sign())
    assert (await facilitator.outcome(payment_id, 0.1)).outcome == "pending"
    shop.chain.is_refusing = False
    assert (await facilitator.outcome(payment_id, 30)).outcome == "settled"
    assert await shop.paid() == PRICE


async def test_a_settled_payment_needs_no_chain_to_be_known(
    shop: Shop, facilitator: LocalFacilitator
) -> None:
    authorization = shop.sign()
    payment_id = await shop.claim(authorization)
    await facilitator.submit(payment_id, authorization, {})
    settled = await facilitator.outcome(payment_id, 30)
    await shop.pool.execute("UPDATE payments SET state = 'settled' WHERE id = $1", payment_id)
    shop.chain.is_refusing = True
    assert await facilitator.outcome(payment_id, 0) == settled
