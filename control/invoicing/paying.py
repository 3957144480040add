"""An invoice is paid once, whoever says so and how often."""

from typing import Literal, TypeAlias
from uuid import UUID

from control.invoicing.wording import numbered, usd
from gateway.kit.sql import Db, Statements
from gateway.ledger import accounts, events, moves
from gateway.ledger.accounts import PLATFORM

SQL = Statements(__file__)

Source: TypeAlias = Literal["wallet", "stripe", "polar", "bank"]

# Cents are the second decimal of whatever asset it is booked in.
CENT_DECIMALS = 2


class AmountDiffers(Exception):
    """What came in is not what is due; nothing was changed, and the text says both."""


async def mark_paid(db: Db, invoice_id: UUID, amount_cents: int, source: Source, reference: str) -> bool:
    """Take ``amount_cents`` for an issued invoice. ``db`` is a transaction.

    False when it cannot be paid (any more): it is a draft, void, or paid already. Then nothing was changed,
    and money that came in from outside is still to be credited or returned. Raises ``AmountDiffers``, and
    ``moves.Short`` when ``wallet`` has too little; the transaction goes on as if this had not been asked.
    """
    due = await db.fetchrow(SQL.lock, invoice_id)
    if due is None:
        return False
    total: int = due["total_cents"]
    if amount_cents != total:
        raise AmountDiffers(f"{usd(amount_cents)} came in and {usd(total)} is due")
    number = numbered(due["mode"], due["number"])
    if total:
        payer = (
            await accounts.ensure(db, due["organization_id"], due["asset_id"], "funded")
            if source == "wallet"
            else await accounts.ensure(db, PLATFORM, due["asset_id"], source)
        )
        revenue = await accounts.ensure(db, PLATFORM, due["asset_id"], "revenue")
        amount = total * 10 ** (due["decimals"] - CENT_DECIMALS)
        legs = {payer: -amount, revenue: amount}
        await moves.move(db, "invoice", due["cause_id"], f"Invoice {number} of {due['month'][:7]}", legs)
    await db.execute(SQL.settle, invoice_id, source, reference)
    told = {
        "invoice_id": str(invoice_id),
        "invoice_number": number,
        "month": due["month"][:7],
        "total_usd": usd(total),
        "source": source,
    }
    await events.emit(db, due["organization_id"], "invoice.paid", told)
    return True
