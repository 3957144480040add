"""Transactions that the gateway signed, stored before they are sent, and the account nonces they use up.

A signer's nonces are handed out one after another, in the database transaction that stores what uses them. So
none is skipped, which would hold up every later one, and none is used twice, however many processes sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.kit.sql import Db, Statements
from gateway.x402.payments import State

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Stored:
    """A payment's transaction, and what it has to prove."""

    hash: bytes
    network: str
    signer: str
    signer_nonce: int
    asset: str
    payer: str
    pay_to: str
    amount: int
    nonce: bytes
    valid_before: int
    state: State
    failure: str | None
    claimed_at: datetime

    @property
    def hash_text(self) -> str:
        return "0x" + self.hash.hex()


async def register(db: Db, network: str, signer: str, chain_nonce: int) -> None:
    """Make a signer known, and never hand out a nonce that the chain has seen."""
    await db.execute(SQL.register, network, signer, chain_nonce)


async def take_nonce(db: Db, network: str, signer: str) -> int:
    """Only within the transaction that stores what uses the nonce."""
    nonce = await db.fetchval(SQL.take_nonce, network, signer)
    assert isinstance(nonce, int), "the signer was registered before it signed"
    return nonce


async def store(
    db: Db, hash: bytes, payment_id: UUID, network: str, signer: str, nonce: int, raw: bytes
) -> None:
    await db.execute(SQL.store, hash, payment_id, network, signer, nonce, raw)


async def of_payment(db: Db, payment_id: UUID) -> Stored | None:
    row = await db.fetchrow(SQL.of_payment, payment_id)
    return Stored(**dict(row)) if row else None


async def from_nonce(db: Db, network: str, signer: str, first: int, last: int) -> Sequence[bytes]:
    """What the signer signed with these nonces, in their order."""
    return [row["raw"] for row in await db.fetch(SQL.from_nonce, network, signer, first, last)]
