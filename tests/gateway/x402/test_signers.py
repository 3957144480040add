"""Several keys for one network, and transactions that nobody mines."""

import asyncio
from typing import Any

import pytest
from eth_account import Account

from gateway.x402 import local, receipts
from gateway.x402.facilitator import FacilitatorUnavailable
from gateway.x402.gas import Fees
from gateway.x402.local import LocalFacilitator
from gateway.x402.signers import Fields, Signer
from tests.gateway.x402.shop import PRICE, Open, Shop, as_secret


async def several(shop: Shop, another: Open, funded: int, poor: int = 0, **more: Any) -> LocalFacilitator:
    keys = [Account.create() for _ in range(funded + poor)]
    for one in keys[poor:]:
        await shop.chain.fund(one.address)
    return await another(facilitator_key=None, facilitator_keys=tuple(map(as_secret, keys)), **more)


async def test_payments_are_spread_over_the_signers_and_none_loses_a_nonce(shop: Shop, another: Open) -> None:
    facilitator = await several(shop, another, funded=3)
    signed = [shop.sign() for _ in range(12)]
    claimed = [await shop.claim(one) for one in signed]
    await asyncio.gather(
        *(facilitator.submit(payment_id, one, {}) for payment_id, one in zip(claimed, signed, strict=True))
    )
    outcomes = await asyncio.gather(*(facilitator.outcome(one, 30) for one in claimed))
    assert [one.outcome for one in outcomes] == ["settled"] * 12
    rows = await shop.pool.fetch(
        "SELECT signer, array_agg(nonce ORDER BY nonce) AS nonces FROM chain_transactions GROUP BY signer"
    )
    assert len(rows) == 3
    assert all(row["nonces"] == list(range(len(row["nonces"]))) for row in rows)
    assert [signer.busy for signer in facilitator.signers] == [0, 0, 0]
    assert await shop.paid() == 12 * PRICE


async def test_a_signer_without_gas_money_is_passed_over(shop: Shop, another: Open) -> None:
    facilitator = await several(shop, another, funded=1, poor=2)
    authorization = shop.sign()
    payment_id = await shop.claim(authorization)
    await facilitator.check(authorization)
    await facilitator.submit(payment_id, authorization, {})
    assert (await facilitator.outcome(payment_id, 30)).outcome == "settled"
    broke = await several(shop, another, funded=0, poor=2)
    with pytest.raises(FacilitatorUnavailable, match="out of gas money"):
        await broke.check(shop.sign())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts, "RESEND_SECONDS", 0.05)


async def too_cheap(facilitator: LocalFacilitator) -> None:
    """Offer what no block takes."""
    fees = await facilitator.gas.fees()
    facilitator.gas.known = Fees(fees.per_gas // 1000, 1, fees.known_at + 100)


@pytest.mark.usefixtures("quick")
async def test_a_transaction_that_nobody_mines_is_replaced_with_a_higher_fee(
    shop: Shop, another: Open
) -> None:
    facilitator = await another()
    await facilitator.prepare()
    authorization = shop.sign()
    payment_id = await shop.claim(authorization)
    await too_cheap(facilitator)
    await facilitator.submit(payment_id, authorization, {})
    assert (await facilitator.outcome(payment_id, 0)).outcome == "pending"
    facilitator.gas.known = None
    await shop.time_passes()
    settlement = await facilitator.outcome(payment_id, 30)
    assert settlement.outcome == "settled"
    rows = await shop.pool.fetch("SELECT hash, nonce, replaces FROM chain_transactions ORDER BY created_at")
    assert [row["nonce"] for row in rows] == [0, 0]
    assert [row["replaces"] for row in rows] == [None, rows[0]["hash"]]
    assert settlement.transaction == "0x" + rows[1]["hash"].hex()
    assert await shop.paid() == PRICE


@pytest.mark.usefixtures("quick")
async def test_a_stuck_transaction_does_not_hold_up_the_payments_behind_it(shop: Shop, another: Open) -> None:
    """Its own process is gone, and nobody asks for its outcome any more."""
    facilitator = await another()
    await facilitator.prepare()
    stuck, behind = shop.sign(), shop.sign()
    stuck_id, behind_id = await shop.claim(stuck), await shop.claim(behind)
    await too_cheap(facilitator)
    await facilitator.submit(stuck_id, stuck, {})
    await shop.time_passes()
    later = await another()
    await later.submit(behind_id, behind, {})
    assert (await later.outcome(behind_id, 30)).outcome == "settled"
    assert (await later.outcome(stuck_id, 30)).outcome == "settled"
    assert await shop.paid() == 2 * PRICE


@pytest.mark.usefixtures("quick")
async def test_of_many_who_replace_a_transaction_one_does(
    shop: Shop, another: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "REPLACEMENTS_MAX", 1)
    facilitators = [await another() for _ in range(4)]
    authorization = shop.sign()
    payment_id = await shop.claim(authorization)
    shop.chain.node.is_automining = False
    await facilitators[0].submit(payment_id, authorization, {})
    await shop.time_passes()
    signer = facilitators[0].signers[0].address
    await asyncio.gather(*(one.unstick(signer, 0) for one in facilitators for _ in range(4)))
    # Replaced once, and then no more: a transaction that nobody mines has a bounded price.
    await shop.time_passes()
    await facilitators[0].unstick(signer, 0)
    assert await shop.pool.fetchval("SELECT count(*) FROM chain_transactions") == 2
    await shop.chain.run(shop.chain.node.mine_waiting)
    assert (await facilitators[1].outcome(payment_id, 30)).outcome == "settled"
    assert await shop.paid() == PRICE


@pytest.mark.parametrize(
    ("first", "now", "offered"),
    [
        (Fees(800, 80, 0), Fees(10, 1, 0), (901, 91)),           # an eighth more than before
        (Fees(800, 80, 0), Fees(5000, 300, 0), (5000, 300)),     # or what is asked now
        (Fees(800, None, 0), Fees(10, None, 0), (901, 901)),     # a chain without a base fee
    ],
)  # fmt: skip
def test_a_replacement_offers_enough_for_nodes_to_take_it(
    shop: Shop, first: Fees, now: Fees, offered: tuple[int, int]
) -> None:
    signer = Signer("0x" + "11" * 32)
    signed = signer.transfer(shop.sign(), 31337, 7, 200_000, first)
    again = signer.again(signed.raw, 31337, now)
    node = shop.chain.node.chain.get_vm().get_transaction_builder()
    before, after = node.decode(signed.raw), node.decode(again.raw)
    assert (after.max_fee_per_gas, after.max_priority_fee_per_gas) == offered
    assert (after.nonce, after.to, after.data, after.gas) == (
        before.nonce,
        before.to,
        before.data,
        before.gas,
    )
    assert after.sender == before.sender


@pytest.mark.parametrize(
    ("nonce", "data_bytes", "tip"),
    [
        (0, 0, 1),           # nothing at all is an empty string
        (1, 1, 0),           # a single small byte stands for itself
        (127, 55, 10**6),    # the longest short string
        (128, 56, 10**6),    # the shortest long one
        (256, 292, 10**12),  # what a settlement looks like, with a tip above the fee
        (300, 292, None),    # a chain without a base fee
    ],
)  # fmt: skip
def test_a_transaction_is_signed_byte_for_byte_as_eth_account_signs_it(
    nonce: int, data_bytes: int, tip: int | None
) -> None:
    account = Account.create()
    per_gas, to, data = 10**9, b"\x01" * 20, b"\x7f" * data_bytes
    signed = Signer(as_secret(account).get_secret_value()).sign(
        Fields(84532, nonce, 200_000, to, data), Fees(per_gas, tip, 0)
    )
    fields = {"chainId": 84532, "nonce": nonce, "to": to, "data": data, "value": 0, "gas": 200_000}
    offer = {"gasPrice": per_gas} if tip is None else {
        "type": 2, "maxFeePerGas": per_gas, "maxPriorityFeePerGas": min(tip, per_gas),
    }  # fmt: skip
    theirs = account.sign_transaction({**fields, **offer})
    assert (signed.hash, signed.raw) == (bytes(theirs.hash), bytes(theirs.raw_transaction))
