"""From a claimed payment to money in the ledger, once, whoever finishes it.

A call settles its own payment. What it could not see the end of, the reconciler finishes from the stored
transaction: same functions, same statements.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import structlog

from gateway.kit.sql import Pool
from gateway.ledger import transfers, usage
from gateway.ledger.usage import Usage
from gateway.metering import metrics
from gateway.x402 import payments
from gateway.x402.facilitator import (
    Authorization,
    Facilitator,
    FacilitatorUnavailable,
    PaymentInvalid,
    PaymentNotClaimed,
    Settlement,
)
from gateway.x402.payments import Payment

log = structlog.get_logger(__name__)


class Settlements:
    """Every network's facilitator, and how long a caller waits for one."""

    def __init__(
        self, pool: Pool, facilitators: Mapping[str, Facilitator], wait_seconds: Mapping[str, float]
    ) -> None:
        self.pool = pool
        self.facilitators = facilitators
        self.wait_seconds = wait_seconds

    async def check(self, authorization: Authorization) -> int | None:
        """What the chain says of a payment before anything is done for it; see ``Facilitator.check``."""
        return await self.facilitators[authorization.asset.network].check(authorization)

    async def settle(
        self, payment_id: UUID, authorization: Authorization, event: dict[str, Any]
    ) -> Settlement:
        """Settle a claimed payment on chain and book it. ``event`` is what its usage row will say."""
        network = authorization.asset.network
        facilitator = self.facilitators[network]
        try:
            await facilitator.check_again(authorization)
            await facilitator.submit(payment_id, authorization, event)
        except (PaymentInvalid, FacilitatorUnavailable, PaymentNotClaimed) as error:
            # Nothing was sent, and now nothing will be.
            failure = error.code if isinstance(error, PaymentInvalid) else "facilitator_unavailable"
            await payments.void(self.pool, payment_id, failure)
            return Settlement("failed", "", failure)
        return await self.outcome(payment_id, network)

    async def outcome(self, payment_id: UUID, network: str) -> Settlement:
        """Wait for the outcome of a submitted payment, and book it."""
        settlement = await self.facilitators[network].outcome(payment_id, self.wait_seconds[network])
        await self.finish(payment_id, network, settlement)
        return settlement

    async def finish(self, payment_id: UUID, network: str, settlement: Settlement) -> None:
        """Write the outcome down; the first to do so books the money, and nobody after."""
        if settlement.outcome == "settled":
            async with self.pool.acquire() as connection, connection.transaction():
                payment = await payments.settle(connection, payment_id, settlement.transaction)
                if payment is not None:
                    await book(connection, payment)
        elif settlement.outcome == "failed":
            await payments.fail(self.pool, payment_id, settlement.failure or "invalid_transaction_state")
        metrics.SETTLEMENTS.labels(network, settlement.outcome).inc()
        log.info(
            "payment." + settlement.outcome, payment_id=str(payment_id), transaction=settlement.transaction
        )

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


async def book(connection: Any, payment: Payment) -> None:
    """Move the money and write the usage row, in the transaction that settles the payment."""
    if payment.purpose == "facilitated":
        # Somebody else's money on its way to somebody else.
        return
    event = payment.usage or {}
    description = str(event.get("description", payment.purpose))
    kind: Literal["charge", "deposit"] = "charge" if payment.purpose == "call" else "deposit"
    money = (payment.credit_id, payment.asset_id, payment.amount, payment.fee)
    await transfers.book_payment(connection, payment.id, kind, *money, description)
    if payment.purpose == "deposit":
        return
    if not payment.is_owed:
        await transfers.book_paid_out(
            connection, payment.id, payment.credit_id, payment.asset_id, payment.amount, description
        )
    used = Usage(
        payment.id, UUID(event["publisher_id"]), optional(event["organization_id"]), payment.payer, "x402",
        event["method"], event["path"], "charged", event["status"], payment.asset_id, payment.amount,
    )  # fmt: skip
    await usage.record(connection, [used])


def optional(text: str | None) -> UUID | None:
    return UUID(text) if text else None
