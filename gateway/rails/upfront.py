"""Rail ``upfront``: an x402 payment settles before the upstream is asked, for side effects and high prices.

It is a deposit to the payer's balance, and a hold on that: a call that then costs nothing leaves the money
there, whatever ends it, a crash and a late settlement included. Nobody is owed a refund that could fail.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias
from uuid import UUID

import structlog

from gateway.kit import ids, tasks
from gateway.kit.problem import Refusal
from gateway.kit.sql import OUTAGES
from gateway.ledger import accounts
from gateway.ledger.usage import Usage
from gateway.rails.prepaid import PrepaidHold, PrepaidRail, Short
from gateway.rails.x402 import X402Rail
from gateway.tariffs import NOTHING_MEASURED, Used
from gateway.types import Caller, Head, Inbound, Keeper, Match, Metering, Mode, Outcome, Quote, Receipt
from gateway.x402 import deposits, intake
from gateway.x402.intake import Challenge, Intake, SettlementPending
from gateway.x402.payments import Claim
from gateway.x402.settlement import Checked

log = structlog.get_logger(__name__)

Adopt: TypeAlias = Callable[[str, Mode], Awaitable[str | None]]
"""Make an organization for a payer's address that nobody knows yet, and return its key; None to all but the
first who asks.
"""

KEY = "X-Farebox-Api-Key"


@dataclass(slots=True)
class UpfrontHold:
    inner: PrepaidHold
    keeper: Keeper
    intake: Intake
    transaction: str
    issued: Mapping[str, str]
    """The key of the organization that this payment made, shown this once."""

    @property
    def is_open(self) -> bool:
        return self.inner.is_open

    @property
    def is_steady(self) -> bool:
        return self.inner.is_steady

    @property
    def event(self) -> Usage:
        return replace(self.inner.event, rail="x402", payer=self.intake.authorization.payer)

    @property
    def metering(self) -> Metering | None:
        return self.inner.metering

    async def post(self, head: Head, measured: Used = NOTHING_MEASURED) -> Receipt:
        try:
            receipt = await self.inner.post(head, measured)
        except Refusal as refusal:
            refusal.headers = {**refusal.headers, **self.receipt()}
            raise
        return replace(receipt, rail="x402", headers=self.receipt())

    async def void(self, outcome: Outcome, status: int | None) -> Receipt | None:
        """The payer was charged by the chain and not for the call: the receipt says where its money is."""
        if not self.inner.is_open:
            return None
        try:
            await self.inner.void(outcome, status)
        except OUTAGES as error:
            # The hold ends by itself. What is told here is told to nobody else.
            log.warning("hold.not_voided", call_id=str(self.inner.event.call_id), reason=repr(error))
        paid = self.intake.authorization
        where = {"paymentFlow": "upfront", "creditedToBalance": str(paid.amount)}
        return Receipt(self.inner.event.call_id, "x402", 0, paid.asset, self.receipt(where))

    def receipt(self, extra: Mapping[str, str] | None = None) -> Mapping[str, str]:
        return {**self.intake.receipt(self.transaction, extra=extra), **self.issued}


@dataclass(frozen=True, slots=True)
class UpfrontRail:
    x402: X402Rail
    prepaid: PrepaidRail
    adopt: Adopt

    async def hold(self, inbound: Inbound, caller: Caller, match: Match, quote: Quote) -> UpfrontHold:
        # To its end even when the call is cancelled: a hold must not be opened behind everybody's back.
        return await tasks.finish(self.paid(inbound, caller, match, quote), undo)

    async def paid(self, inbound: Inbound, caller: Caller, match: Match, quote: Quote) -> UpfrontHold:
        challenge = self.x402.challenge(inbound, match, quote)
        taken, digest, checked = await self.x402.take(inbound, caller, match, challenge)
        issued: dict[str, str] = {}

        async def adopt(payer: str) -> None:
            if key := await self.adopt(payer, taken.authorization.asset.mode):
                issued[KEY] = key

        pool, payer = self.x402.pool, taken.authorization.payer
        owner_id = await deposits.whose(pool, payer, caller.organization_id, adopt)
        payment_id = ids.new()
        try:
            claim = await self.claim(payment_id, owner_id, taken, digest)
            if await self.x402.claims.claim(claim, None) != "claimed":
                await self.x402.recall(inbound, caller, match, taken, challenge)
                raise await intake.unclaimed(pool, claim)
            transaction = await self.settle(claim, inbound, taken, challenge, checked)
            # What was just paid in is the payer's: no cap of a key is on it, and no other key than its nonce.
            owner = replace(
                caller, organization_id=owner_id, mode=taken.authorization.asset.mode, is_capped=False
            )
            unkeyed = replace(inbound, idempotency_key=None)
            inner = await self.reserve(unkeyed, owner, match, quote, taken, transaction, challenge)
        except Refusal as refusal:
            # Whatever became of the payment, its money will be in a balance that only this key opens.
            refusal.headers = {**refusal.headers, **issued}
            raise
        except OUTAGES as error:
            log.warning("settlement.unknown", call_id=str(inbound.call_id), reason=repr(error))
            pending = SettlementPending(payment_id, "")
            pending.headers = {**pending.headers, **issued}
            raise pending from None
        keeper = self.x402.keeping(payment_id, inbound, caller).copied
        return UpfrontHold(inner, keeper, taken, transaction, issued)

    async def claim(self, payment_id: UUID, owner_id: UUID, taken: Intake, digest: bytes) -> Claim:
        """A deposit into the owner's balance."""
        paid, name = taken.authorization, taken.presented.identifier
        credit_id = await accounts.ensure(self.x402.pool, owner_id, paid.asset.id, "funded")
        # Not the call's id: the deposit and the charge are two transfers.
        failures_max = self.x402.offers.failures_max(paid.asset.network)
        return Claim(
            payment_id, "deposit", paid, digest, credit_id, is_owed=True, fee=0, identifier=name,
            failures_max=failures_max,
        )  # fmt: skip

    async def settle(
        self, claim: Claim, inbound: Inbound, taken: Intake, challenge: Challenge, checked: Checked
    ) -> str:
        """Put the payment into the balance and return its transaction."""
        paid = taken.authorization
        event = {
            "description": f"Payment by {paid.payer} ahead of {challenge.resource.description}",
            # For whoever sends the payment again: the answer is this call's.
            "call_id": str(inbound.call_id),
        }
        settlement = await self.x402.settlements.settle(claim.id, paid, event, checked)
        if settlement.outcome != "settled":
            raise intake.unsettled(settlement, claim.id, taken, challenge)
        return settlement.transaction

    async def reserve(
        self,
        inbound: Inbound,
        owner: Caller,
        match: Match,
        quote: Quote,
        taken: Intake,
        transaction: str,
        challenge: Challenge,
    ) -> PrepaidHold:
        """Hold the price on the balance that it was just paid into."""
        paid = taken.authorization
        price = next(one for one in quote.prices if one.asset == paid.asset)
        # Whatever the publisher says of other prepaid calls, or asks of their callers' balances.
        own = replace(price, is_prepaid_enabled=True, minimum_balance=0)
        only = replace(quote, prices=(own,))
        try:
            # Not from a purse: others look for its hold while it runs.
            return await self.prepaid.hold(inbound, owner, match, only)
        except Short as short:
            # The owner's other calls may spend the same balance between the two commits.
            detail = f"the payment is in the balance, and another call was faster to spend it; {short}"
            headers = taken.receipt(transaction, extra={"creditedToBalance": str(paid.amount)})
            raise challenge.refuse("insufficient_funds", detail, headers, **short.members) from None


async def undo(opened: UpfrontHold) -> None:
    await opened.void("abandoned", None)
