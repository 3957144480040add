"""A payment that stands otherwise than we knew: money is credited here, once, and nowhere else by card."""

from uuid import UUID

from control.invoicing import paying
from control.invoicing.paying import AmountDiffers
from control.processors import payments, reversals
from control.processors.payments import Payment, Purpose
from control.processors.port import Mismatch, Provider, Reversal, Standing
from gateway.kit.sql import Db, Pool
from gateway.ledger import accounts, events, moves

CURRENCY = "usd"
NOT_OURS = "no payment that was begun here"


async def settle(
    pool: Pool, provider: Provider, standing: Standing, found: list[Reversal] | None = None
) -> str | None:
    """Bring one payment, and what went back of it, to how they stand. A text says why nothing was done.

    ``Mismatch`` when what was paid is not what was asked for; then nothing is written.
    """
    async with pool.acquire() as db, db.transaction():
        known = await payments.find(db, provider, standing)
        if known is None:
            return NOT_OURS
        payment = await payments.lock(db, known.id)
        check(payment, standing, await payments.mode_of(db, payment.asset_id))
        await payments.stands(db, payment.id, standing)
        if standing.state == "paid" and payment.state != "paid":
            await payments.paid(db, payment.id, await book(db, payment, standing))
        if found:
            await reversals.apply(db, await payments.lock(db, payment.id), found)
    return None


def check(payment: Payment, standing: Standing, mode: str) -> None:
    if standing.our_id != payment.id:
        raise Mismatch(f"{payment.provider} has it for payment {standing.our_id}, and we for {payment.id}")
    if standing.is_live != (mode == "live"):
        raise Mismatch(f"payment {payment.id} is of {mode} money, and this is not")
    if standing.state != "paid":
        return
    if (standing.amount_cents, standing.currency.lower()) != (payment.amount_cents, CURRENCY):
        raise Mismatch(
            f"payment {payment.id} is of {payment.amount_cents} cents of {CURRENCY}, and "
            f"{standing.amount_cents} of {standing.currency} were paid"
        )
    if (
        payment.state == "paid"
        and None not in (ids := {payment.intent_id, standing.intent_id})
        and len(ids) > 1
    ):
        raise Mismatch(
            f"payment {payment.id} was paid by {payment.intent_id}, and again by {standing.intent_id}"
        )


async def book(db: Db, payment: Payment, standing: Standing) -> Purpose:
    if payment.invoice_id is not None and await is_invoice_paid(db, payment, payment.invoice_id, standing):
        return "invoice"
    # Of an invoice, too: somebody paid it otherwise, or it was voided, and the money is theirs to spend.
    clearing = await accounts.ensure(db, accounts.PLATFORM, payment.asset_id, payment.provider)
    funded = await accounts.ensure(db, payment.organization_id, payment.asset_id, "funded")
    text = f"Deposit by card of {payment.amount_cents // 100}.{payment.amount_cents % 100:02} USD"
    if await moves.move(db, "deposit", payment.id, text, {clearing: -payment.amount, funded: payment.amount}):
        told = {
            "payment_id": str(payment.id),
            "asset_id": str(payment.asset_id),
            "amount_atomic": str(payment.amount),
            "fee_atomic": "0",
            "description": text,
        }
        await events.emit(db, payment.organization_id, "wallet.deposited", told)
    return "deposit"


async def is_invoice_paid(db: Db, payment: Payment, invoice_id: UUID, standing: Standing) -> bool:
    reference = standing.intent_id or str(payment.id)
    try:
        return await paying.mark_paid(db, invoice_id, payment.amount_cents, payment.provider, reference)
    except AmountDiffers as error:
        raise Mismatch(f"invoice {invoice_id}: {error}") from None
