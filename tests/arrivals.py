"""Money that arrived on chain, without a chain: the payment's row, and its booking."""

import secrets
from uuid import UUID

from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import transfers


async def arrive(pool: Pool, account_id: UUID, asset_id: UUID, amount: int, description: str) -> None:
    """A deposit into an account; void, so that nobody finds it who compares payments with the chain."""
    payment_id, address = ids.new(), "0x" + "d0" * 20
    await pool.execute(
        "INSERT INTO payments (id, purpose, asset_id, payer, nonce, pay_to, amount, valid_after,"
        " valid_before, signature, request_digest, credit_id, is_owed, usage, state, closed_at, final_at)"
        " VALUES ($1, 'deposit', $2, $3, $4, $3, $5, 0, 0, $4, $4, $6, true, $7, 'void', now(), now())",
        payment_id, asset_id, address, secrets.token_bytes(32), amount, account_id,
        {"description": description},
    )  # fmt: skip
    await transfers.book(pool, [payment_id])
