"""From a claimed payment to money in the ledger, once, whoever finishes it.

A call settles its own payment. What it could not see the end of, the reconciler finishes from the stored
transaction: same functions, same statements.
"""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from gateway.answers.store import Kept
from gateway.kit.groups import Crowd
from gateway.kit.later import Later
from gateway.kit.sql import Pool
from gateway.kit.values import dataclass
from gateway.metering import metrics
from gateway.x402 import payments
from gateway.x402.bookings import Bookings
from gateway.x402.facilitator import (
    Authorization,
    Facilitator,
    FacilitatorUnavailable,
    Outcome,
    PaymentInvalid,
    PaymentNotClaimed,
    Settlement,
)
from gateway.x402.payments import Settled

log = structlog.get_logger(__name__)
STANDARD = logging.getLogger(__name__)

# A check that is younger is not made again before settling; see the README.
FRESH_SECONDS = 1.0
# So many payments being settled at a time are a crowd: their answers do not wait for the ledger. It stays
# one for a while, because who comes together ends together, and the last of them looks alone.
CROWD_MIN = 4
CROWD_SECONDS = 0.05
# Prometheus hears of outcomes a few times a second: telling it of one locks and asks the kernel for our id.
TELL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Checked:
    """What the chain said of a payment, and when it was asked, by the monotonic clock."""

    funds: int | None
    """What the payer has; None where nobody can tell."""
    known_at: float

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() < self.known_at + FRESH_SECONDS


class Settlements:
    """Every network's facilitator, and how long a caller waits for one."""

    def __init__(
        self,
        pool: Pool,
        facilitators: Mapping[str, Facilitator],
        wait_seconds: Mapping[str, float],
        crowd: Crowd | None = None,
    ) -> None:
        self.pool = pool
        self.facilitators = facilitators
        self.wait_seconds = wait_seconds
        self.crowd = crowd or Crowd()
        self.bookings = Bookings(pool, self.crowd)
        self.under_way = 0
        """Payments that are being settled."""
        self.crowded_until = 0.0
        self.ended: Counter[tuple[str, Outcome]] = Counter()
        """How many on which network, and how, since that was told."""
        self.telling = Later(self.tell)

    async def close(self) -> None:
        await self.bookings.close()
        self.telling.cancel()
        self.tell()

    async def check(self, authorization: Authorization) -> Checked:
        """What the chain says of a payment before anything is done for it; see ``Facilitator.check``."""
        began = time.monotonic()
        funds = await self.facilitators[authorization.asset.network].check(authorization)
        return Checked(funds, began)

    async def settle(
        self,
        payment_id: UUID,
        authorization: Authorization,
        event: dict[str, Any],
        checked: Checked | None = None,
        kept: Kept | None = None,
        *,
        is_answered_first: bool = False,
    ) -> Settlement:
        """Settle a claimed payment on chain and book it. ``event`` is what its usage row will say.

        ``kept`` is the answer that it buys: stored when nothing but the chain can stop the payment any more.
        One in a crowd is booked a moment later, if it may be answered first: nobody spends it at once.

        What was checked a moment ago is not asked again.
        """
        self.under_way += 1
        try:
            settlement = await self.submitted(payment_id, authorization, event, checked, kept)
            if settlement is None:
                network = authorization.asset.network
                settlement = await self.found(payment_id, network)
                is_promised = is_answered_first and self.is_in_crowd()
                await self.finish(payment_id, network, settlement, is_promised=is_promised)
            return settlement
        finally:
            self.under_way -= 1

    def is_in_crowd(self) -> bool:
        now = time.monotonic()
        if self.under_way >= CROWD_MIN:
            self.crowded_until = now + CROWD_SECONDS
        return now < self.crowded_until and not self.bookings.is_behind

    async def submitted(
        self,
        payment_id: UUID,
        authorization: Authorization,
        event: dict[str, Any],
        checked: Checked | None,
        kept: Kept | None,
    ) -> Settlement | None:
        """Submit a claimed payment; how it stands, if that is its end."""
        facilitator = self.facilitators[authorization.asset.network]
        try:
            if checked is None or not checked.is_fresh:
                await facilitator.check_again(authorization)
            await facilitator.submit(payment_id, authorization, event, kept)
        except (PaymentInvalid, FacilitatorUnavailable, PaymentNotClaimed) as error:
            # Nothing was sent, and now nothing will be.
            failure = error.code if isinstance(error, PaymentInvalid) else "facilitator_unavailable"
            is_blamed = isinstance(error, PaymentInvalid)
            await payments.void(self.pool, payment_id, failure, is_blamed=is_blamed)
            return Settlement("failed", "", failure)
        return None

    async def outcome(self, payment_id: UUID, network: str) -> Settlement:
        """Wait for the outcome of a submitted payment, and book it."""
        settlement = await self.found(payment_id, network)
        await self.finish(payment_id, network, settlement)
        return settlement

    async def found(self, payment_id: UUID, network: str) -> Settlement:
        return await self.facilitators[network].outcome(payment_id, self.wait_seconds[network])

    async def finish(
        self, payment_id: UUID, network: str, settlement: Settlement, *, is_promised: bool = False
    ) -> None:
        """Write the outcome down; the first to do so books the money, and nobody after."""
        if settlement.outcome == "settled":
            is_final = not self.facilitators[network].can_be_asked_again
            settled = Settled(settlement.transaction, is_final)
            write_down = self.bookings.promise if is_promised else self.bookings.book
            await write_down(payment_id, settled)
        elif settlement.outcome == "failed":
            await payments.fail(self.pool, payment_id, settlement.failure or "invalid_transaction_state")
        self.ended[network, settlement.outcome] += 1
        self.telling.within(TELL_SECONDS)
        is_settled = settlement.outcome == "settled"
        # That is in its call's own line and in the ledger: so mostly it is not even asked what to say here.
        if not is_settled or STANDARD.isEnabledFor(logging.DEBUG):
            say = log.debug if is_settled else log.info
            transaction = settlement.transaction
            say("payment." + settlement.outcome, payment_id=str(payment_id), transaction=transaction)

    def tell(self) -> None:
        ended, self.ended = self.ended, Counter()
        for (network, outcome), times in ended.items():
            metrics.SETTLEMENTS.labels(network, outcome).inc(times)

    async def reconcile(self, age: timedelta) -> int:
        """Finish payments that nobody waits for any more; return how many reached an end."""
        finished = 0
        due = [
            (network, payment_id)
            for network in self.facilitators
            # A network at a time: payments on one whose node is away do not take the places of the others.
            for payment_id in await payments.take_submitted(self.pool, network, age, limit=100)
        ]
        for network, payment_id in due:
            try:
                settlement = await self.facilitators[network].outcome(payment_id, 0)
                await self.finish(payment_id, network, settlement)
            except Exception:
                # One payment that cannot be read must not hold up everybody else's.
                log.exception("payment.unreconciled", payment_id=str(payment_id))
                continue
            finished += settlement.outcome != "pending"
        return finished
