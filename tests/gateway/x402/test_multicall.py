"""Payments that come together share a transaction, and each still settles or fails for itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from vyper.compiler import compile_code

from config.networks import MULTICALL3
from control.demo.chain import Chain
from gateway.kit.sql import Pool
from gateway.x402 import finality, multicall, payments, receipts, token
from gateway.x402.facilitator import Authorization, PaymentNotClaimed
from gateway.x402.gas import Fees
from gateway.x402.local import LocalFacilitator
from gateway.x402.settlement import Settlements
from gateway.x402.signers import Fields, Signer
from gateway.x402.transactions import Signed
from tests.anvil import Anvil
from tests.gateway.x402.shop import PRICE, Open, Shop, as_secret, opened
from tests.waiting import until

MANY = 12
SOURCE = Path(__file__).with_name("multicall.vy").read_text()


@pytest.fixture
async def address(shop: Shop) -> str:
    """Of a contract that does on the demonstration chain what Multicall3 does elsewhere."""
    code = compile_code(SOURCE, output_formats=["bytecode"])["bytecode"]
    return str((await shop.chain.transact(None, bytes.fromhex(code[2:])))["contractAddress"])


@pytest.fixture
async def sharing(another: Open, address: str) -> LocalFacilitator:
    return await ready(await another(multicall_address=address))


async def ready(facilitator: LocalFacilitator) -> LocalFacilitator:
    """Having looked at what its signers can pay for, as it does at each check."""
    await facilitator.gas_money.check()
    return facilitator


async def claimed(shop: Shop, signed: Sequence[Authorization]) -> dict[UUID, Authorization]:
    return {await shop.claim(one): one for one in signed}


async def submit(facilitator: LocalFacilitator, made: Mapping[UUID, Authorization]) -> list[Any]:
    return await asyncio.gather(
        *(facilitator.submit(*one, {}) for one in made.items()), return_exceptions=True
    )


async def outcomes(facilitator: LocalFacilitator, made: Mapping[UUID, Authorization]) -> list[str]:
    found = await asyncio.gather(*(facilitator.outcome(one, 30) for one in made))
    return [one.outcome for one in found]


async def stored(shop: Shop) -> list[bool]:
    """Of each transaction, whether it is shared."""
    rows = await shop.pool.fetch("SELECT is_shared FROM chain_transactions ORDER BY nonce")
    return [row["is_shared"] for row in rows]


async def poor(shop: Shop, amount: int = PRICE) -> LocalAccount:
    payer: LocalAccount = Account.create()
    await shop.chain.mint(shop.asset.address, payer.address, amount)
    return payer


async def test_a_crowd_shares_a_transaction_and_a_lone_payment_has_its_own(
    shop: Shop, sharing: LocalFacilitator
) -> None:
    for expected in ([True], [True, True]):
        made = await claimed(shop, [shop.sign() for _ in range(MANY)])
        assert await submit(sharing, made) == [None] * MANY
        assert await outcomes(sharing, made) == ["settled"] * MANY
        assert await stored(shop) == expected
    alone = await claimed(shop, [shop.sign()])
    await submit(sharing, alone)
    assert await outcomes(sharing, alone) == ["settled"]
    assert await stored(shop) == [True, True, False]
    assert await shop.paid() == (2 * MANY + 1) * PRICE


async def test_crowds_take_turns_with_the_signers_and_none_is_torn_apart(
    shop: Shop, another: Open, address: str
) -> None:
    keys = [Account.create() for _ in range(2)]
    for one in keys:
        await shop.chain.fund(one.address)
    both = {"facilitator_key": None, "facilitator_keys": tuple(map(as_secret, keys))}
    facilitator = await ready(await another(multicall_address=address, **both))
    crowds = [await claimed(shop, [shop.sign() for _ in range(MANY)]) for _ in range(2)]
    for made in crowds:
        assert await submit(facilitator, made) == [None] * MANY
    rows = await shop.pool.fetch("SELECT signer, is_shared FROM chain_transactions")
    assert sorted(row["signer"] for row in rows) == sorted(one.address for one in facilitator.signers)
    assert all(row["is_shared"] for row in rows)
    for made in crowds:
        assert await outcomes(facilitator, made) == ["settled"] * MANY


async def test_each_payment_names_the_transaction_that_it_is_in(
    shop: Shop, sharing: LocalFacilitator
) -> None:
    made = await claimed(shop, [shop.sign() for _ in range(3)])
    await submit(sharing, made)
    known = [await payments.get(shop.pool, one) for one in made]
    [sent] = await shop.pool.fetch("SELECT hash FROM chain_transactions")
    assert {one.transaction_hash for one in known if one} == {sent["hash"]}
    again = await payments.find(shop.pool, next(iter(made.values())))
    assert again is not None
    assert again.transaction_hash == sent["hash"]


@pytest.mark.parametrize(
    "limits", [{"payments_per_transaction_max": 5}, {"gas_limit": multicall.GAS_MAX // 5}]
)
async def test_a_transaction_has_no_more_payments_than_it_may(
    shop: Shop, another: Open, address: str, limits: dict[str, int]
) -> None:
    facilitator = await ready(await another(multicall_address=address, **limits))
    made = await claimed(shop, [shop.sign() for _ in range(11)])
    await submit(facilitator, made)
    assert await outcomes(facilitator, made) == ["settled"] * 11
    assert await stored(shop) == [True, True, False]


async def test_a_signer_shares_no_more_gas_than_it_can_pay_for(shop: Shop, sharing: LocalFacilitator) -> None:
    sharing.signers[0].transfers_affordable = 4
    made = await claimed(shop, [shop.sign() for _ in range(8)])
    await submit(sharing, made)
    assert await outcomes(sharing, made) == ["settled"] * 8
    assert await stored(shop) == [True, True]


@pytest.mark.parametrize("changes", [{"multicall_address": ""}, {}, {"payments_per_transaction_max": 1}])
async def test_nothing_is_shared_where_there_is_no_multicall_or_nobody_wants_it(
    shop: Shop, another: Open, changes: dict[str, Any]
) -> None:
    facilitator = await ready(await another(**changes))
    made = await claimed(shop, [shop.sign() for _ in range(3)])
    await submit(facilitator, made)
    assert await outcomes(facilitator, made) == ["settled"] * 3
    assert await stored(shop) == [False] * 3


async def test_payments_that_cannot_be_made_fail_and_their_neighbours_settle(
    shop: Shop, sharing: LocalFacilitator
) -> None:
    """Of one payer who has money for one of two that are alike, one; of one who moved its money, none."""
    twin, mover = await poor(shop), await poor(shop)
    signed = [shop.sign(), shop.sign(payer=twin), shop.sign(), shop.sign(payer=twin), shop.sign(payer=mover)]
    made = await claimed(shop, signed)
    await shop.chain.transact(shop.asset.address, token.transfer_with_authorization(shop.sign(payer=mover)))
    before = await shop.paid()
    assert await submit(sharing, made) == [None] * 5
    found = await asyncio.gather(*(sharing.outcome(one, 30) for one in made))
    assert [one.outcome for one in found] == ["settled", "settled", "settled", "failed", "failed"]
    assert [one.failure for one in found[3:]] == ["insufficient_funds"] * 2
    assert await shop.paid() - before == 3 * PRICE


async def test_a_payment_that_somebody_else_sends_first_is_settled_by_that(
    shop: Shop, sharing: LocalFacilitator
) -> None:
    signed = [shop.sign() for _ in range(3)]
    made = await claimed(shop, signed)
    await shop.send_directly(signed[1])
    await submit(sharing, made)
    found = await asyncio.gather(*(sharing.outcome(one, 30) for one in made))
    assert [one.outcome for one in found] == ["settled"] * 3
    assert found[1].transaction != found[0].transaction == found[2].transaction
    assert await shop.paid() == 3 * PRICE


async def test_one_payment_that_is_not_claimed_is_in_no_transaction(
    shop: Shop, sharing: LocalFacilitator
) -> None:
    for place in (0, 2):
        made = await claimed(shop, [shop.sign() for _ in range(4)])
        await payments.void(shop.pool, list(made)[place], "abandoned")
        results = await submit(sharing, made)
        assert [at for at, one in enumerate(results) if isinstance(one, PaymentNotClaimed)] == [place]
        del made[list(made)[place]]
        assert await outcomes(sharing, made) == ["settled"] * 3
    assert await shop.paid() == 6 * PRICE
    rows = await shop.pool.fetch("SELECT nonce FROM chain_transactions ORDER BY nonce")
    assert [row["nonce"] for row in rows] == [0, 1]


@pytest.fixture
def starved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first transaction that is shared has too little gas, as if a neighbour had used it up."""
    sign = Signer.sign
    starved: list[int] = []

    def signed(self: Signer, fields: Fields, fees: Fees) -> Signed:
        if len(fields.data) > 1000 and not starved:
            starved.append(fields.nonce)
            fields = Fields(fields.chain_id, fields.nonce, 400_000, fields.to, fields.data)
        return sign(self, fields, fees)

    monkeypatch.setattr(Signer, "sign", signed)


@pytest.mark.usefixtures("starved")
async def test_what_a_neighbour_spoilt_is_settled_alone(
    shop: Shop, sharing: LocalFacilitator, another: Open, address: str
) -> None:
    made = await claimed(shop, [shop.sign() for _ in range(MANY)])
    await submit(sharing, made)
    other = await ready(await another(multicall_address=address))
    # Another process asks at the same time: each of them is sent alone once.
    both = await asyncio.gather(outcomes(sharing, made), outcomes(other, made))
    assert list(both) == [["settled"] * MANY] * 2
    assert await shop.paid() == MANY * PRICE
    first, *alone = await stored(shop)
    assert first
    assert alone == [False] * MANY


async def test_what_was_stored_and_never_sent_is_sent_by_whoever_asks(
    shop: Shop, sharing: LocalFacilitator, another: Open, address: str
) -> None:
    """The process dies between the commit and the node."""
    made = await claimed(shop, [shop.sign() for _ in range(MANY)])
    await asyncio.gather(*(sharing.store(*one, {}) for one in made.items()))
    assert await shop.paid() == 0
    found = await outcomes(await another(multicall_address=address), made)
    assert found == ["settled"] * MANY
    assert await stored(shop) == [True]
    assert await shop.paid() == MANY * PRICE


async def test_a_commit_that_nobody_heard_of_is_sent_as_it_was_stored(
    shop: Shop, sharing: LocalFacilitator, monkeypatch: pytest.MonkeyPatch
) -> None:
    [submissions] = sharing.submissions.values()
    store, lost = submissions.group.run, list[Any]()

    async def committed_and_lost(batch: Any) -> Any:
        answer = await store(batch)
        if not lost:
            lost.append(answer)
            raise ConnectionResetError
        return answer

    monkeypatch.setattr(submissions.group, "run", committed_and_lost)
    made = await claimed(shop, [shop.sign() for _ in range(MANY)])
    assert await submit(sharing, made) == [None] * MANY
    assert await outcomes(sharing, made) == ["settled"] * MANY
    assert await stored(shop) == [True]


async def test_a_shared_transaction_that_nobody_mines_is_replaced_for_all(
    shop: Shop, another: Open, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "RESEND_SECONDS", 0.05)
    facilitator = await ready(await another(multicall_address=address))
    fees = await facilitator.gas.fees()
    facilitator.gas.known = Fees(fees.per_gas // 1000, 1, time.monotonic() + 100)
    made = await claimed(shop, [shop.sign() for _ in range(4)])
    await submit(facilitator, made)
    facilitator.gas.known = None
    await shop.time_passes()
    found = await asyncio.gather(*(facilitator.outcome(one, 30) for one in made))
    assert [one.outcome for one in found] == ["settled"] * 4
    rows = await shop.pool.fetch(
        "SELECT hash, replaces, is_shared FROM chain_transactions ORDER BY created_at"
    )
    assert [(row["replaces"], row["is_shared"]) for row in rows] == [(None, True), (rows[0]["hash"], True)]
    assert {one.transaction for one in found} == {"0x" + rows[1]["hash"].hex()}
    assert await shop.paid() == 4 * PRICE


@pytest.fixture
async def on_anvil(anvil: Anvil, pool: Pool) -> AsyncIterator[tuple[Shop, LocalFacilitator]]:
    """The published contract, where every chain has it."""
    await anvil.deploy_multicall()
    shop = await opened(cast(Chain, anvil), pool, await anvil.deploy_token())
    assert shop.network.multicall_address == MULTICALL3
    facilitator = LocalFacilitator(pool, shop.network.model_copy(update={"final_blocks": 5}))
    await facilitator.start()
    yield shop, await ready(facilitator)
    await facilitator.close()


async def test_payments_share_transactions_by_the_published_contract(
    on_anvil: tuple[Shop, LocalFacilitator],
) -> None:
    shop, facilitator = on_anvil
    drained = await poor(shop)
    made = await claimed(shop, [*(shop.sign() for _ in range(MANY)), shop.sign(payer=drained)])
    await shop.chain.transact(shop.asset.address, token.transfer_with_authorization(shop.sign(payer=drained)))
    await submit(facilitator, made)
    assert await outcomes(facilitator, made) == ["settled"] * MANY + ["failed"]
    assert await stored(shop) == [True]
    assert await shop.paid() == (MANY + 1) * PRICE


async def test_payments_of_a_transaction_that_vanished_are_sent_again(
    anvil: Anvil, on_anvil: tuple[Shop, LocalFacilitator]
) -> None:
    shop, facilitator = on_anvil
    settlements = Settlements(shop.pool, {shop.network.id: facilitator}, {shop.network.id: 5})
    snapshot = await anvil.ask("evm_snapshot")
    made = await claimed(shop, [shop.sign() for _ in range(4)])
    # A deposit needs no publisher.
    await shop.pool.execute("UPDATE payments SET purpose = 'deposit'")
    await asyncio.gather(*(settlements.settle(*one, {}) for one in made.items()))
    assert await anvil.ask("evm_revert", snapshot)
    assert await shop.paid() == 0
    await finality.recheck(settlements, timedelta(0))

    async def is_paid_again() -> bool:
        return await shop.paid() == 4 * PRICE

    await until(is_paid_again)
    await anvil.ask("anvil_mine", hex(5))
    await finality.recheck(settlements, timedelta(0))
    rows = await shop.pool.fetch("SELECT final_at, lost_at FROM payments")
    assert [(row["final_at"] is not None, row["lost_at"]) for row in rows] == [(True, None)] * 4
    assert await stored(shop) == [True]
    await settlements.close()
