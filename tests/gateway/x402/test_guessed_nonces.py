"""A process that has signed before knows its next nonce, and is never wrong about it in what it stores."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from gateway.x402 import payments
from gateway.x402.facilitator import Authorization, PaymentNotClaimed
from gateway.x402.local import LocalFacilitator
from gateway.x402.submissions import Submission, Submissions
from gateway.x402.transactions import Signed
from tests.gateway.x402.shop import Open, Shop

MANY = 20


async def claimed(shop: Shop, count: int) -> dict[UUID, Authorization]:
    signed = [shop.sign() for _ in range(count)]
    return {await shop.claim(one): one for one in signed}


async def submit(facilitator: LocalFacilitator, asked: Sequence[tuple[UUID, Authorization]]) -> list[Any]:
    return await asyncio.gather(*(facilitator.submit(*one, {}) for one in asked), return_exceptions=True)


async def nonces(shop: Shop) -> list[int]:
    rows = await shop.pool.fetch("SELECT nonce FROM chain_transactions ORDER BY nonce")
    return [row["nonce"] for row in rows]


@pytest.fixture
async def submissions(shop: Shop, facilitator: LocalFacilitator) -> Submissions:
    """Of a facilitator that has signed once."""
    [first] = (await claimed(shop, 1)).items()
    await facilitator.submit(*first, {})
    [submissions] = facilitator.submissions.values()
    assert submissions.nonce == 1
    return submissions


async def test_what_was_guessed_right_is_stored_at_once_and_settles(
    shop: Shop, facilitator: LocalFacilitator, submissions: Submissions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Submissions, "decide")
    made = await claimed(shop, MANY)
    assert await submit(facilitator, list(made.items())) == [None] * MANY
    assert await nonces(shop) == list(range(MANY + 1))
    assert set((await payments.states(shop.pool, list(made))).values()) == {"submitted"}
    outcomes = await asyncio.gather(*(facilitator.outcome(one, 30) for one in made))
    assert {one.outcome for one in outcomes} == {"settled"}


async def test_a_payment_that_is_not_claimed_any_more_leaves_no_gap_and_fails_alone(
    shop: Shop, facilitator: LocalFacilitator, submissions: Submissions
) -> None:
    made = await claimed(shop, MANY)
    await payments.void(shop.pool, list(made)[3], "abandoned")
    results = await submit(facilitator, list(made.items()))
    assert [place for place, one in enumerate(results) if isinstance(one, PaymentNotClaimed)] == [3]
    assert await nonces(shop) == list(range(MANY))


async def test_a_payment_that_comes_twice_is_signed_once(
    shop: Shop, facilitator: LocalFacilitator, submissions: Submissions
) -> None:
    [one] = (await claimed(shop, 1)).items()
    results = await submit(facilitator, [one, one])
    assert [type(each) for each in results] == [type(None), PaymentNotClaimed]
    assert await nonces(shop) == [0, 1]


async def test_processes_that_share_a_signer_never_skip_or_share_a_nonce(
    shop: Shop, facilitator: LocalFacilitator, submissions: Submissions, another: Open
) -> None:
    both = facilitator, await another()
    for _ in range(6):
        made = list((await claimed(shop, 4)).items())
        results = list(await asyncio.gather(submit(both[0], made[:2]), submit(both[1], made[2:])))
        assert results == [[None] * 2] * 2
    assert await nonces(shop) == list(range(25))


async def test_a_guess_whose_commit_nobody_heard_of_is_sent_as_it_was_stored(
    shop: Shop, facilitator: LocalFacilitator, submissions: Submissions, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, guess = await claimed(shop, 5), submissions.guess
    stored: list[Signed] = []

    async def unheard(batch: Sequence[Submission], nonce: int) -> None:
        stored.extend(await guess(batch, nonce) or [])
        raise ConnectionResetError

    monkeypatch.setattr(submissions, "guess", unheard)
    assert await submit(facilitator, list(made.items())) == [None] * 5
    assert [facilitator.sent[one].signed for one in made] == stored
    assert await nonces(shop) == list(range(6))
    # Whoever comes next asks what the next nonce is.
    monkeypatch.undo()
    assert await submit(facilitator, list((await claimed(shop, 2)).items())) == [None] * 2
    assert await nonces(shop) == list(range(8))
