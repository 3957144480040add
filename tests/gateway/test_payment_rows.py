"""What a payment's row says is well formed, however it got there."""

import asyncpg
import pytest

from gateway.kit.sql import Pool
from tests.gateway.conftest import Ledger

COLUMNS = (
    "purpose",
    "payer",
    "nonce",
    "pay_to",
    "amount",
    "fee",
    "signature",
    "request_digest",
    "identifier",
)
AGAIN = """
INSERT INTO payments (id, asset_id, credit_id, is_owed, valid_after, valid_before, {columns})
SELECT gen_random_uuid(), asset_id, credit_id, is_owed, valid_after, valid_before, {values}
FROM payments WHERE state = 'void'
"""


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("purpose", "'gift'"), ("payer", f"'0x{'A' * 40}'"), ("payer", "'0x12'"), ("nonce", "'short'::bytea"),
        ("pay_to", f"'0X{'a' * 40}'"), ("amount", "0"), ("fee", "1000000"), ("fee", "-1"),
        ("signature", "''::bytea"), ("request_digest", "'short'::bytea"), ("identifier", "'short'"),
    ],
)  # fmt: skip
async def test_a_malformed_payment_is_neither_made_nor_becomes_of_another(
    pool: Pool, ledger: Ledger, column: str, value: str
) -> None:
    await ledger.deposit(await ledger.organization(), 100)
    usual = {name: name for name in COLUMNS} | {"nonce": "sha256(uuid_send(gen_random_uuid()))"}

    async def write(changed: dict[str, str]) -> None:
        values = ", ".join((usual | changed).values())
        await pool.execute(AGAIN.format(columns=", ".join(COLUMNS), values=values))

    await write({"identifier": "'of-sixteen-letters'", "fee": "100"})
    with pytest.raises(asyncpg.CheckViolationError, match="well formed"):
        await write({column: value})
    with pytest.raises(asyncpg.CheckViolationError, match="well formed"):
        await pool.execute(f"UPDATE payments SET {column} = {value} WHERE state = 'claimed'")
    assert await pool.fetchval("SELECT count(*) FROM payments") == 2
    assert await ledger.is_sound()
