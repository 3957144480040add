"""An invoice is paid, disputed, refunded, won and paid again in any order, and all books agree."""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from control.processors import reversals
from tests.control.cards import Till
from tests.control.cards import stripe as stripe
from tests.control.cards import till as till
from tests.control.test_paying_invoices import begin, revenue, status
from tests.control.test_reopened_invoices import agreed, issued

CENT = 10_000
DUE, DEPOSITED = 500, 1000
STEPS = 30
STANDING = """
SELECT intent_id, coalesce(invoice_cause_id, invoice_id) AS cause, (
    SELECT coalesce(sum(amount_cents), 0)::integer FROM card_reversals
    WHERE payment_id = card_payments.id AND state = 'standing'
) AS taken_back
FROM card_payments WHERE state = 'paid' AND purpose = 'invoice'
"""


@dataclass(slots=True)
class Chance:
    till: Till
    invoice_id: str
    choice: random.Random
    intents: list[str] = field(default_factory=list)
    backs: list[Any] = field(default_factory=list)

    async def is_due(self) -> bool:
        return await status(self.till, self.invoice_id) == "issued"

    async def pay_by_card(self) -> None:
        if await self.is_due():
            intent_id = (await begin(self.till, self.invoice_id))["payment_intent_id"]
            self.intents.append(intent_id)
            await self.till.tell("payment_intent.succeeded", self.till.stripe.succeed(intent_id))

    async def pay_from_wallet(self) -> None:
        if await self.is_due():
            await self.till.client.post(f"/billing/invoices/{self.invoice_id}/pay/wallet")

    async def dispute(self) -> None:
        if self.intents:
            made = self.till.stripe.dispute(self.choice.choice(self.intents))
            made["amount"] = self.choice.choice([DUE, DUE, 250, 100])
            self.backs.append(made)
            await self.till.tell("charge.dispute.created", made)

    async def refund(self) -> None:
        if self.intents:
            intent_id = self.choice.choice(self.intents)
            self.backs.append(self.till.stripe.refund(intent_id, self.choice.choice([DUE, 250, 100])))
            await self.till.tell("refund.created", self.backs[-1])

    async def give_back(self) -> None:
        if self.backs:
            one = self.backs.pop(self.choice.randrange(len(self.backs)))
            is_dispute = one["object"] == "dispute"
            one["status"] = "won" if is_dispute else "failed"
            await self.till.tell("charge.dispute.closed" if is_dispute else "refund.failed", one)

    async def collect(self) -> None:
        await reversals.collect(self.till.pool)

    async def step(self) -> None:
        ways = (self.pay_by_card, self.pay_by_card, self.pay_from_wallet, self.dispute, self.dispute)
        await self.choice.choice((*ways, self.refund, self.give_back, self.give_back, self.collect))()
        while await self.till.work():
            pass

    def asked(self, intent_id: str) -> int:
        """What Stripe has given back of a payment: never more than the payment."""
        return min(DUE, sum(int(one["amount"]) for one in self.backs if one["payment_intent"] == intent_id))

    async def agrees(self) -> None:
        await agreed(self.till.pool)
        standing = await self.till.pool.fetch(STANDING)
        assert all(one["taken_back"] == self.asked(one["intent_id"]) for one in standing)
        came = DEPOSITED + sum(DUE - one["taken_back"] for one in standing)
        owed = int(await self.till.pool.fetchval("SELECT coalesce(sum(owed), 0) FROM card_reversals")) // CENT
        earned = await self.earned(standing)
        # What came in and was not earned is the payer's, less what they have to make up for.
        found = await revenue(self.till), await self.till.balance() // CENT - owed
        assert found == (earned, came - earned)

    async def earned(self, standing: list[Any]) -> int:
        """What its payment brought, as far as nobody took that back."""
        if await self.is_due():
            return 0
        paid = await self.till.pool.fetchrow(
            "SELECT paid_source, coalesce(cause_id, id) AS cause FROM invoices"
        )
        assert paid is not None
        if paid["paid_source"] == "wallet":
            return DUE
        (one,) = (one for one in standing if one["cause"] == paid["cause"])
        return DUE - int(one["taken_back"])


@pytest.mark.parametrize("seed", [101, 130, 139])
async def test_what_came_in_is_earned_or_the_payers(till: Till, seed: int) -> None:
    chance = Chance(till, await issued(till, DUE), random.Random(seed))
    await till.paid(DEPOSITED)
    for _ in range(STEPS):
        await chance.step()
        await chance.agrees()
    assert await till.pool.fetchval("SELECT count(*) FROM payment_events WHERE state <> 'done'") == 0
