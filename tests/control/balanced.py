"""What reconciliation finds wrong with the books of a test."""

from control.reconciling import books
from gateway.kit.sql import Pool


async def differences(pool: Pool) -> list[str]:
    """The checks that name one. Deposits of tests come from nowhere, so nothing on chain is compared."""
    compared = [one for one in books.CHECKS if one != "payments"]
    return [one for one in compared if await pool.fetch(getattr(books.SQL, one), 9)]
