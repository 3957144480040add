"""The ledger against itself and against everything that was written beside it.

All statements see one snapshot, so calls that run meanwhile make no difference.
"""

from collections.abc import AsyncIterator

from control.reconciling.checks import SHOWN_MAX, Difference, Result
from gateway.kit.sql import Pool, Statements

SQL = Statements(__file__)

# They read whole tables: once a night, and on a replica if that is too much.
PATIENCE_SECONDS = 3600

CHECKS = {
    "transfers": "the entries of each transfer sum to zero",
    "posted": "each balance is the sum of its entries",
    "held": "what each account holds back is the sum of its open holds, purses and slips",
    "sums": "all accounts of an asset together are zero",
    "usage": "each call's cost in the usage is what the ledger charged for it",
    "holds": "each hold spent what the ledger charged for its call",
    "days": "sums by the day are those of the calls that they have counted",
    "earned": "what publishers earned, added up, is what the calls that it has counted did",
    "payments": "what settled on chain is booked, and nothing else is",
    "promotional": "promotional balances are what is left of grants, and hold back what they do",
    "drawn": "what is drawn from grants is what holds have of them",
    "parts": "what charges drew from grants and refunds gave back to them is booked, and nothing else is",
    "granted": "grants and expiries are booked, and nothing else is",
    "charges": "charges took, and gave back, what is written beside them",
    "refunds": "each refund and each penalty is booked as it was decided",
    "payouts": "each payout moved what its state says",
    "aged": "what was paid out had been earned for as long as it had to be",
    "leaving": "what is on its way out is the sum of the open payouts",
    "totals": "each invoice comes to the sum of its lines",
    "numbers": "the numbers of invoices have no gap",
    "invoiced": "what issued invoices list of calls is the usage of their month",
    "invoices": "what invoices were paid is booked, and nothing else is",
    "cards": "what was paid by card is booked, and nothing else is",
    "reversals": "what was taken back by card is booked, and nothing else is",
}


async def compare(pool: Pool) -> AsyncIterator[Result]:
    async with pool.acquire() as db, db.transaction(isolation="repeatable_read", readonly=True):
        await db.execute(f"SET LOCAL statement_timeout = '{PATIENCE_SECONDS}s'")
        for name, meaning in CHECKS.items():
            rows = await db.fetch(getattr(SQL, name), SHOWN_MAX, timeout=PATIENCE_SECONDS)
            yield Result(name, meaning, tuple(Difference(*row) for row in rows))
