"""A payment before its transaction is sent: the settings, the check, and the nonce it is signed with."""

import asyncio
import traceback
from dataclasses import replace

import pytest
from eth_account import Account

from gateway.x402 import exact, local, payments
from gateway.x402.facilitator import (
    Authorization,
    ChainMismatch,
    FacilitatorUnavailable,
    PaymentInvalid,
    PaymentNotClaimed,
    Settlement,
)
from gateway.x402.local import LocalFacilitator
from gateway.x402.transactions import Signed
from tests.gateway.x402.shop import PRICE, Open, Shop, as_secret


async def test_a_payment_settles_with_the_transfer_that_its_payer_signed(
    shop: Shop, facilitator: LocalFacilitator
) -> None:
    authorization = shop.sign()
    payment_id = await shop.claim(authorization)
    await facilitator.check(authorization)
    await facilitator.submit(payment_id, authorization, {"path": "/x"})
    settlement = await facilitator.outcome(payment_id, 30)
    stored = await payments.get(shop.pool, payment_id)
    assert stored is not None
    assert stored.transaction_hash is not None
    assert (stored.state, stored.usage) == ("submitted", {"path": "/x"})
    assert settlement == Settlement("settled", "0x" + stored.transaction_hash.hex())
    assert await shop.paid() == PRICE


@pytest.mark.parametrize(
    ("funds", "code"),
    [
        (PRICE - 1, "insufficient_funds"),
        (0, "insufficient_funds"),
        (PRICE, None),
    ],
)
async def test_check_compares_the_price_with_the_balance(
    shop: Shop, facilitator: LocalFacilitator, funds: int, code: str | None
) -> None:
    payer = Account.create()
    if funds:
        await shop.chain.mint(shop.asset.address, payer.address, funds)
    assert await refusal(facilitator, shop.sign(payer=payer)) == code


async def refusal(facilitator: LocalFacilitator, authorization: Authorization) -> str | None:
    try:
        await facilitator.check(authorization)
    except PaymentInvalid as error:
        return error.code
    return None


async def test_check_refuses_what_the_token_would_refuse(shop: Shop, facilitator: LocalFacilitator) -> None:
    used, altered, expired = shop.sign(), replace(shop.sign(), amount=1), shop.sign(seconds=-1)
    await shop.send_directly(used)
    codes = [await refusal(facilitator, one) for one in (used, altered, expired)]
    assert codes == [
        "invalid_exact_evm_nonce_already_used",
        "invalid_exact_evm_payload_signature",
        "invalid_exact_evm_transaction_simulation_failed",
    ]


async def test_a_payer_who_is_known_is_refused_a_wrong_last_byte_as_a_stranger_is(
    shop: Shop, facilitator: LocalFacilitator
) -> None:
    """Its key is remembered, and what is signed verified by that: only the token looks at the last byte."""
    right = shop.sign()
    wrong = replace(right, signature=right.signature[:64] + bytes([55 - right.signature[64]]))
    codes = []
    for is_known in (False, True):
        exact.keys.clear()
        assert not is_known or await refusal(facilitator, right) is None
        assert (right.payer in exact.keys) is is_known
        codes.append(await refusal(facilitator, wrong))
    assert codes == ["invalid_exact_evm_payload_signature"] * 2


async def test_check_refuses_a_payer_whose_contract_is_no_wallet(
    shop: Shop, facilitator: LocalFacilitator
) -> None:
    nobodys = replace(shop.sign(), payer=shop.asset.address)
    assert await refusal(facilitator, nobodys) == "invalid_exact_evm_payload_signature"


async def test_check_takes_no_payment_that_it_has_no_gas_for(shop: Shop, another: Open) -> None:
    poor = await another(facilitator_key=as_secret(Account.create()))
    with pytest.raises(FacilitatorUnavailable, match="out of gas money"):
        await poor.check(shop.sign())


async def test_check_simulates_with_the_gas_that_the_transaction_will_have(shop: Shop, another: Open) -> None:
    stingy = await another(gas_limit=30_000)
    assert await refusal(stingy, shop.sign()) == "invalid_exact_evm_transaction_simulation_failed"


async def test_a_payment_is_signed_for_once(shop: Shop, facilitator: LocalFacilitator) -> None:
    authorization = shop.sign()
    payment_id = await shop.claim(authorization)
    await facilitator.submit(payment_id, authorization, {})
    before = await nonces(shop)
    with pytest.raises(PaymentNotClaimed):
        await facilitator.submit(payment_id, authorization, {})
    assert await nonces(shop) == before
    next_one = shop.sign()
    next_id = await shop.claim(next_one)
    await facilitator.submit(next_id, next_one, {})
    assert (await facilitator.outcome(next_id, 30)).outcome == "settled"


async def test_a_signer_is_not_busy_with_what_nobody_waits_for(
    shop: Shop, facilitator: LocalFacilitator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(signed: Signed) -> None:
        raise ConnectionError("the database went away while the nonces were compared")

    authorization = shop.sign()
    payment_id = await shop.claim(authorization)
    monkeypatch.setattr(facilitator.sending, "send", away)
    with pytest.raises(ConnectionError):
        await facilitator.submit(payment_id, authorization, {})
    assert (facilitator.sent, [one.busy for one in facilitator.signers]) == ({}, [0])
    # Stored it is, so it is sent by whoever asks for its outcome.
    assert (await facilitator.outcome(payment_id, 30)).outcome == "settled"


async def nonces(shop: Shop) -> list[int]:
    rows = await shop.pool.fetch("SELECT nonce FROM chain_transactions ORDER BY nonce")
    return [row["nonce"] for row in rows]


async def test_two_processes_share_a_signer_without_losing_a_nonce(
    shop: Shop, facilitator: LocalFacilitator, another: Open
) -> None:
    both = facilitator, await another()
    authorizations = [shop.sign() for _ in range(50)]
    claimed = [await shop.claim(one) for one in authorizations]
    await asyncio.gather(
        *(both[turn % 2].submit(claimed[turn], one, {}) for turn, one in enumerate(authorizations))
    )
    settlements = [await both[turn % 2].outcome(one, 30) for turn, one in enumerate(claimed)]
    assert [one.outcome for one in settlements] == ["settled"] * 50
    assert await nonces(shop) == list(range(50))
    assert await shop.paid() == 50 * PRICE


async def test_a_node_that_is_down_at_the_start_is_asked_again(
    shop: Shop, another: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "RETRY_SECONDS", 0)
    shop.chain.is_refusing = True
    early = await another()
    authorization = shop.sign()
    payment_id = await shop.claim(authorization)
    with pytest.raises(FacilitatorUnavailable):
        await early.check(authorization)
    with pytest.raises(FacilitatorUnavailable):
        await early.submit(payment_id, authorization, {})
    shop.chain.is_refusing = False
    await early.check(authorization)
    await early.submit(payment_id, authorization, {})
    assert (await early.outcome(payment_id, 30)).outcome == "settled"


@pytest.mark.parametrize(
    ("network", "asset", "sentence"),
    [
        ({"id": "eip155:84532"}, {}, "the RPC URL of eip155:84532 belongs to another chain, eip155:31337"),
        ({}, {"address": "0x" + "9" * 40}, "there is no contract at 0x9999"),
        ({}, {"version": "2"}, "has another EIP-712 domain than the name 'Test Dollar' and version '2'"),
        ({}, {"name": "USD Coin"}, "has another EIP-712 domain than the name 'USD Coin' and version '1'"),
    ],
)
async def test_settings_that_contradict_the_chain_are_refused_in_a_sentence(
    shop: Shop, another: Open, network: dict[str, str], asset: dict[str, str], sentence: str
) -> None:
    changed = shop.network.assets[0].model_copy(update=asset)
    with pytest.raises(ChainMismatch, match=sentence):
        await another(**network, assets=(changed,))


async def test_the_rpc_url_stays_out_of_messages(shop: Shop, another: Open) -> None:
    """Hosted nodes put the customer's key into it."""
    secretive = await another(rpc_url=shop.chain.rpc_url + "/v2/secret-key")
    shop.chain.is_refusing = True
    with pytest.raises(FacilitatorUnavailable) as caught:
        await secretive.check(shop.sign())
    assert "the node does not answer: status 404" in str(caught.value)
    assert "secret-key" not in "".join(traceback.format_exception(caught.value))
