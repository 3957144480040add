"""Rail ``upfront``: an x402 payment settles before the upstream is asked, for side effects and high prices.

It is a deposit to the payer's balance, and a hold on that: a call that then costs nothing leaves the money
there, whatever ends it, a crash and a late settlement included. Nobody is owed a refund that could fail.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeAlias
from uuid import UUID

from gateway.kit import ids
from gateway.ledger import accounts
from gateway.rails.prepaid import PrepaidHold, PrepaidRail, Short
from gateway.rails.x402 import X402Rail
from gateway.types import Caller, Head, Inbound, Match, Outcome, Quote, Receipt
from gateway.x402 import deposits, intake, payments
from gateway.x402.facilitator import Authorization
from gateway.x402.intake import Challenge, Intake, PaymentInProgress
from gateway.x402.payments import Claim

Adopt: TypeAlias = Callable[[str], Awaitable[UUID]]
"""Make an organization for a payer's address that nobody knows yet."""


@dataclass(slots=True)
class UpfrontHold:
    inner: PrepaidHold
    intake: Intake
    transaction: str

    async def post(self, head: Head) -> Receipt:
        receipt = await self.inner.post(head)
        return replace(receipt, rail="x402", headers=self.intake.receipt(self.transaction))

    async def void(self, outcome: Outcome, status: int | None) -> Receipt | None:
        """The payer was charged by the chain and not for the call: the receipt says where its money is."""
        if not self.inner.is_open:
            return None
        await self.inner.void(outcome, status)
        paid = self.intake.authorization
        where = {"paymentFlow": "upfront", "creditedToBalance": str(paid.amount)}
        headers = self.intake.receipt(self.transaction, extra=where)
        return Receipt(self.inner.event.call_id, "x402", 0, paid.asset, headers)


@dataclass(frozen=True, slots=True)
class UpfrontRail:
    x402: X402Rail
    prepaid: PrepaidRail
    adopt: Adopt

    async def hold(self, inbound: Inbound, caller: Caller, match: Match, quote: Quote) -> UpfrontHold:
        challenge = self.x402.challenge(inbound, match, quote)
        taken, digest = await self.x402.take(inbound, match, challenge)
        paid = taken.authorization
        owner_id = await deposits.owner_of(self.x402.pool, paid.payer, caller.organization_id, self.adopt)
        transaction = await self.settle(owner_id, paid, digest, taken, challenge, quote.description)
        price = next(one for one in quote.prices if one.asset == paid.asset)
        # From the balance it was just paid into, whatever the publisher says of other prepaid calls.
        only = replace(quote, prices=(replace(price, is_prepaid_enabled=True),))
        payer = Caller(owner_id, caller.key_id, paid.asset.mode)
        try:
            inner = await self.prepaid.hold(inbound, payer, match, only)
        except Short as short:
            # The owner's other calls may spend the same balance between the two commits.
            detail = f"the payment is in the balance, and another call was faster to spend it; {short}"
            headers = taken.receipt(transaction, extra={"creditedToBalance": str(paid.amount)})
            raise challenge.refuse("insufficient_funds", detail, headers, **short.members) from None
        return UpfrontHold(inner, taken, transaction)

    async def settle(
        self,
        owner_id: UUID,
        paid: Authorization,
        digest: bytes,
        taken: Intake,
        challenge: Challenge,
        description: str,
    ) -> str:
        """Put the payment into the owner's balance and return its transaction."""
        pool = self.x402.pool
        credit_id = await accounts.ensure(pool, owner_id, paid.asset.id, "funded")
        # Not the call's id: the deposit and the charge are two transfers.
        name = taken.presented.identifier
        claim = Claim(ids.new(), "deposit", paid, digest, credit_id, is_owed=True, fee=0, identifier=name)
        if not await payments.claim(pool, claim):
            raise PaymentInProgress("this payment is being used by another request")
        event = {"description": f"Payment by {paid.payer} ahead of {description}"}
        settlement = await self.x402.settlements.settle(claim.id, paid, event)
        if settlement.outcome != "settled":
            raise intake.unsettled(settlement, claim.id, taken, challenge)
        return settlement.transaction
