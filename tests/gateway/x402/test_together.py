"""What many payments commit together, each decides for itself, whatever happens to the commit."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from eth_account import Account
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.answers.store import Answers, Kept
from gateway.heads import Head
from gateway.kit import ids
from gateway.x402 import payments, transactions
from gateway.x402.claims import Claims
from gateway.x402.facilitator import Authorization, PaymentNotClaimed
from gateway.x402.local import LocalFacilitator
from gateway.x402.payments import Claim
from gateway.x402.settlement import Settlements
from tests.gateway.x402.shop import PRICE, Open, Shop

MANY = 20


@pytest.fixture
async def claims(shop: Shop) -> AsyncIterator[Claims]:
    claims = Claims(shop.pool)
    yield claims
    await claims.close()


def claim_of(shop: Shop, signed: Authorization) -> Claim:
    return Claim(ids.new(), "call", signed, bytes(32), shop.credit_id, is_owed=True, fee=0)


async def test_a_nonce_is_claimed_once_by_however_many_in_a_batch_or_beside_it(
    shop: Shop, claims: Claims
) -> None:
    beside = Claims(shop.pool)
    signed = shop.sign()
    made = await asyncio.gather(
        *((claims, beside)[turn % 2].claim(claim_of(shop, signed), None) for turn in range(MANY))
    )
    assert Counter(made) == {"claimed": 1, "taken": MANY - 1}
    await beside.close()


@pytest.mark.parametrize("affordable", [0, 1, 7, MANY])
async def test_a_payer_promises_no_more_than_it_has_and_the_first_stand(
    shop: Shop, claims: Claims, affordable: int
) -> None:
    mine = [claim_of(shop, shop.sign()) for _ in range(MANY)]
    other = claim_of(shop, shop.sign(payer=Account.create()))
    funds = affordable * PRICE
    *made, neighbour = await asyncio.gather(
        *(claims.claim(one, funds) for one in mine), claims.claim(other, PRICE)
    )
    assert made == ["claimed"] * affordable + ["promised"] * (MANY - affordable)
    assert neighbour == "claimed"
    states = await payments.states(shop.pool, [one.id for one in mine])
    assert list(states.values()).count("claimed") == affordable


async def test_a_payer_is_held_to_what_it_has_beside_those_of_whom_nobody_knows_it(
    shop: Shop, claims: Claims
) -> None:
    unknown = [claim_of(shop, shop.sign(payer=Account.create())) for _ in range(3)]
    mine = [claim_of(shop, shop.sign()) for _ in range(3)]
    made = await asyncio.gather(
        *(claims.claim(one, None) for one in unknown), *(claims.claim(one, 2 * PRICE) for one in mine)
    )
    assert made == ["claimed"] * 5 + ["promised"]
    # What it promised where nobody knew what it has counts where somebody does.
    assert await claims.claim(claim_of(shop, shop.sign()), None) == "claimed"
    assert await claims.claim(claim_of(shop, shop.sign()), 3 * PRICE) == "promised"


async def test_two_processes_never_promise_more_than_the_payer_has(shop: Shop, claims: Claims) -> None:
    beside = Claims(shop.pool)
    mine = [claim_of(shop, shop.sign()) for _ in range(MANY)]
    made = await asyncio.gather(
        *((claims, beside)[turn % 2].claim(one, 5 * PRICE) for turn, one in enumerate(mine))
    )
    assert made.count("claimed") <= 5
    await beside.close()


async def test_one_payment_that_is_not_claimed_takes_no_nonce_from_a_batch(
    shop: Shop, facilitator: LocalFacilitator
) -> None:
    signed = [shop.sign() for _ in range(MANY)]
    claimed = [await shop.claim(one) for one in signed]
    await payments.void(shop.pool, claimed[3], "abandoned")
    results = await submit(facilitator, claimed, signed)
    assert [place for place, one in enumerate(results) if isinstance(one, PaymentNotClaimed)] == [3]
    rows = await shop.pool.fetch("SELECT nonce FROM chain_transactions ORDER BY nonce")
    assert [row["nonce"] for row in rows] == list(range(MANY - 1))
    assert [signer.busy for signer in facilitator.signers] == [MANY - 1]


async def test_a_payment_that_is_submitted_twice_in_a_batch_is_signed_once(
    shop: Shop, facilitator: LocalFacilitator
) -> None:
    signed = shop.sign()
    payment_id = await shop.claim(signed)
    results = await submit(facilitator, [payment_id] * 2, [signed] * 2)
    assert [type(one) for one in results] == [type(None), PaymentNotClaimed]
    assert await shop.pool.fetchval("SELECT count(*) FROM chain_transactions") == 1


async def submit(
    facilitator: LocalFacilitator, claimed: Sequence[UUID], signed: Sequence[Authorization]
) -> list[Any]:
    both = zip(claimed, signed, strict=True)
    return await asyncio.gather(*(facilitator.submit(*one, {}) for one in both), return_exceptions=True)


async def test_a_commit_that_nobody_heard_of_is_sent_as_it_was_stored(
    shop: Shop, facilitator: LocalFacilitator, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = [shop.sign() for _ in range(5)]
    claimed = [await shop.claim(one) for one in signed]
    [submissions] = facilitator.submissions.values()
    store = submissions.group.run
    lost: list[Any] = []

    async def committed_and_lost(batch: Any) -> Any:
        stored = await store(batch)
        if not lost:
            lost.append(stored)
            raise ConnectionResetError
        return stored

    monkeypatch.setattr(submissions.group, "run", committed_and_lost)
    assert await submit(facilitator, claimed, signed) == [None] * 5
    outcomes = await asyncio.gather(*(facilitator.outcome(one, 30) for one in claimed))
    assert [one.outcome for one in outcomes] == ["settled"] * 5
    assert [one.transaction for one in outcomes] == ["0x" + one.hash.hex() for one in lost[0]]
    assert await shop.paid() == 5 * PRICE


async def test_a_batch_that_is_rolled_back_gives_its_nonces_back(
    shop: Shop, facilitator: LocalFacilitator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process loses its database between the nonces and the commit, once."""
    signed = [shop.sign() for _ in range(5)]
    claimed = [await shop.claim(one) for one in signed]
    store = transactions.store
    failed: list[Any] = []

    async def lost(*more: Any) -> None:
        if not failed:
            failed.append(more)
            raise ConnectionResetError
        await store(*more)

    monkeypatch.setattr(transactions, "store", lost)
    assert await submit(facilitator, claimed, signed) == [None] * 5
    outcomes = await asyncio.gather(*(facilitator.outcome(one, 30) for one in claimed))
    assert [one.outcome for one in outcomes] == ["settled"] * 5
    rows = await shop.pool.fetch("SELECT nonce FROM chain_transactions ORDER BY nonce")
    assert [row["nonce"] for row in rows] == list(range(5))


async def test_payments_are_booked_once_however_many_finish_them(shop: Shop, another: Open) -> None:
    both = [await another() for _ in range(2)]
    network = shop.network.id
    books = [Settlements(shop.pool, {network: one}, {network: 5}) for one in both]
    signed = [shop.sign() for _ in range(5)]
    claimed = [await deposit_of(shop, one) for one in signed]
    assert await submit(both[0], claimed, signed) == [None] * 5
    await asyncio.gather(*(book.outcome(one, network) for book in books for one in claimed))
    booked = await shop.pool.fetchval("SELECT count(*) FROM transfers")
    assert booked == 5
    assert await shop.pool.fetchval("SELECT posted FROM accounts WHERE id = $1", shop.credit_id) == 5 * PRICE
    for book in books:
        await book.close()


async def deposit_of(shop: Shop, signed: Authorization) -> UUID:
    """A deposit: booked like a call, and without a usage row that would need a publisher."""
    claim = Claim(ids.new(), "deposit", signed, bytes(32), shop.credit_id, is_owed=True, fee=0)
    assert await payments.claim(shop.pool, claim)
    return claim.id


async def test_an_answer_is_kept_with_what_is_submitted_for_it_and_with_nothing_else(
    shop: Shop, facilitator: LocalFacilitator
) -> None:
    head = Head(200, "OK", CIMultiDictProxy(CIMultiDict({"Content-Type": "text/plain"})))
    answers = Answers(shop.pool, 1000, timedelta(minutes=1))
    # The nonce of the first batch is asked for, that of the second is known.
    for _ in range(2):
        signed = [shop.sign() for _ in range(3)]
        claimed = [await shop.claim(one) for one in signed]
        kept = [Kept(one, head, str(one).encode(), None, frozenset({"127.0.0.1"})) for one in claimed[:2]]
        submitted = zip(claimed, signed, [*kept, None], strict=True)
        await asyncio.gather(*(facilitator.submit(one, two, {}, three) for one, two, three in submitted))
        assert [await answers.find(one) for one in claimed] == [*kept, None]
    await answers.close()


async def test_no_answer_is_kept_when_its_payment_could_not_be_submitted(
    shop: Shop, facilitator: LocalFacilitator, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = shop.sign()
    payment_id = await shop.claim(signed)
    head = Head(200, "OK", CIMultiDictProxy(CIMultiDict()))
    monkeypatch.setattr(transactions, "take_nonces", refuse)
    with pytest.raises(PaymentNotClaimed):
        await facilitator.submit(payment_id, signed, {}, Kept(payment_id, head, b"", None))
    assert await shop.pool.fetchval("SELECT count(*) FROM answers") == 0
    assert await payments.states(shop.pool, [payment_id]) == {payment_id: "claimed"}


async def refuse(*_: Any) -> int:
    raise PaymentNotClaimed("in the middle of the transaction that stores it all")
