"""Money that went back: what is still there is taken, and the rest is a debt.

A balance never goes below zero, so that a call is never refused for what a bank did between its hold and its
charge. What is missing is written beside the reversal, and taken as soon as its debtor has money again.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from asyncpg import Record

from control.invoicing import reopening
from control.processors import payments
from control.processors.payments import Payment
from control.processors.port import Provider, Reversal
from gateway.kit import ids
from gateway.kit.sql import Db, Pool, Statements
from gateway.ledger import accounts, events, moves
from gateway.ledger import reversals as ledger

SQL = Statements(__file__)

WORDS = {"refund": "was refunded", "dispute": "was disputed"}


@dataclass(frozen=True, slots=True)
class Debt:
    id: UUID
    organization_id: UUID
    asset_id: UUID
    payment_id: UUID
    provider: Provider
    provider_id: str
    kind: Literal["refund", "dispute"]
    amount: int
    taken: int
    owed: int
    created_at: datetime


async def apply(db: Db, payment: Payment, found: list[Reversal]) -> int:
    """Bring our books to what the processor says; returns how many of them changed.

    ``payment`` is locked and booked. A reversal goes from standing to returned and never back, so what was
    asked for earlier and arrives later changes nothing.
    """
    changed, is_any_returned = 0, False
    for one in found:
        known = await db.fetch(SQL.known, payment.provider, one.id)
        if not known:
            await insert(db, payment, one, one.amount_cents)
        elif known[0]["state"] == "standing" and not one.is_standing:
            await db.execute(SQL.returned, payment.provider, one.id)
            for row in known:
                await give_back(db, payment, row)
            is_any_returned = True
        else:
            continue
        changed += 1
    if is_any_returned:
        for one in found:
            await take_rest(db, payment, one)
    return changed


async def insert(db: Db, payment: Payment, one: Reversal, wanted_cents: int) -> None:
    # A bank that disputes what was refunded already does not get it twice from us.
    cents = max(0, min(wanted_cents, await left_of(db, payment)))
    amount = payment.amount * cents // payment.amount_cents
    reversal_id, taken = ids.new(), 0
    is_of_balance = await is_for_other(db, payment)
    if one.is_standing:
        account, clearing = await sides(db, payment, is_of_balance=is_of_balance)
        text = f"Payment {payment.id} by card {WORDS[one.kind]}"
        taken = await ledger.take_back(db, reversal_id, text, account, clearing, amount)
    owed = amount - taken if one.is_standing else 0
    await db.execute(
        SQL.insert, reversal_id, payment.id, payment.provider, one.id, one.kind, cents, amount, taken,
        owed, "standing" if one.is_standing else "returned", is_of_balance,
    )  # fmt: skip
    if one.is_standing:
        await tell(db, payment, reversal_id, one.kind, taken, owed)
        await reopen(db, payment, reversal_id)


async def take_rest(db: Db, payment: Payment, one: Reversal) -> None:
    """Of two that want the same money one had it. It gave it back, so the other one has it now."""
    known = await db.fetch(SQL.known, payment.provider, one.id)
    wanted = one.amount_cents - sum(row["amount_cents"] for row in known)
    cents = min(wanted, await left_of(db, payment))
    if known[0]["state"] != "standing" or cents <= 0:
        return
    is_of_balance = await is_for_other(db, payment)
    row = next((row for row in known if row["is_of_balance"] == is_of_balance), None)
    if row is None:
        await insert(db, payment, one, cents)
        return
    amount = payment.amount * cents // payment.amount_cents
    account, clearing = await sides(db, payment, is_of_balance=is_of_balance)
    text = f"Payment {payment.id} by card {WORDS[one.kind]}"
    taken = await ledger.take_back(db, ids.new(), text, account, clearing, amount)
    await db.execute(SQL.take_rest, row["id"], cents, amount, taken)
    await tell(db, payment, row["id"], one.kind, taken, amount - taken)
    await reopen(db, payment, row["id"])


async def left_of(db: Db, payment: Payment) -> int:
    """What nobody has taken back of it, in cents."""
    return payment.amount_cents - int(await db.fetchval(SQL.standing_of, payment.id))


async def reopen(db: Db, payment: Payment, reversal_id: UUID) -> None:
    """Who disputes all that was paid for an invoice owes it again. Refunds are the operator's own doing."""
    if (paid := invoice_of(payment)) and await is_disputed(db, payment):
        await reopening.reopen(db, *paid, reversal_id)


async def give_back(db: Db, payment: Payment, row: Record) -> None:
    """A dispute was won, or a refund did not arrive: what was taken for it is theirs again."""
    paid, is_of_balance = invoice_of(payment), row["is_of_balance"]
    if paid and not is_of_balance and not await is_disputed(db, payment):
        # If it is paid by something else by now, this is theirs to spend.
        is_of_balance = not await reopening.restore(db, *paid)
    if row["taken"]:
        account, clearing = await sides(db, payment, is_of_balance=is_of_balance)
        text = f"What was taken of payment {payment.id} is returned"
        legs = {clearing: -row["taken"], account: row["taken"]}
        await moves.move(db, "deposit", row["id"], text, legs)


def invoice_of(payment: Payment) -> tuple[UUID, UUID] | None:
    """The invoice that it was booked for, and under which cause."""
    if payment.booked_as != "invoice" or payment.invoice_id is None:
        return None
    return payment.invoice_id, payment.invoice_cause_id or payment.invoice_id


async def is_disputed(db: Db, payment: Payment) -> bool:
    """All of it."""
    return int(await db.fetchval(SQL.disputed, payment.id)) >= payment.amount_cents


async def is_for_other(db: Db, payment: Payment) -> bool:
    """Whether what is left of it is in its payer's balance, because its invoice was paid again."""
    paid = invoice_of(payment)
    return paid is not None and await reopening.is_reopened(db, *paid)


async def sides(db: Db, payment: Payment, *, is_of_balance: bool) -> tuple[UUID, UUID]:
    """Where the money of a payment is, and where it came in."""
    clearing = await accounts.ensure(db, accounts.PLATFORM, payment.asset_id, payment.provider)
    if payment.booked_as == "invoice" and not is_of_balance:
        return await accounts.ensure(db, accounts.PLATFORM, payment.asset_id, "revenue"), clearing
    return await accounts.ensure(db, payment.organization_id, payment.asset_id, "funded"), clearing


async def tell(db: Db, payment: Payment, reversal_id: UUID, reason: str, taken: int, owed: int) -> None:
    told = {
        "payment_id": str(payment.id),
        "reversal_id": str(reversal_id),
        "asset_id": str(payment.asset_id),
        "reason": reason,
        "taken_atomic": str(taken),
        "owed_atomic": str(owed),
    }
    await events.emit(db, payment.organization_id, "payment.reversed", told)


async def collect(pool: Pool) -> int:
    """Take what is owed from whoever has money again; returns from how many debts something was taken."""
    collected = 0
    for row in await pool.fetch(SQL.collectable):
        async with pool.acquire() as db, db.transaction():
            # In this order everywhere: the payment, then its reversals.
            payment = await payments.lock(db, row["payment_id"])
            debt = await db.fetchrow(SQL.lock, row["id"])
            assert debt is not None, "reversals are never removed"
            if not debt["owed"]:
                continue
            account, clearing = await sides(db, payment, is_of_balance=debt["is_of_balance"])
            text = f"What was owed since payment {payment.id} by card {WORDS[debt['kind']]}"
            taken = await ledger.take_back(db, ids.new(), text, account, clearing, debt["owed"])
            await db.execute(SQL.collected, debt["id"], taken)
            collected += bool(taken)
    return collected


async def debts(db: Db, limit: int, offset: int) -> tuple[list[Debt], int]:
    rows = await db.fetch(SQL.debts, limit, offset)
    return [Debt(**dict(row)) for row in rows], await count(db)


async def count(db: Db) -> int:
    return int(await db.fetchval(SQL.count_debts))
