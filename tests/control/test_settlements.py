from uuid import uuid4

from gateway.kit.sql import Pool
from tests.control.conftest import Client, join
from tests.control.money import Money, data, money

__all__ = ["money"]


async def test_a_receipt_follows_its_call(client: Client, pool: Pool, money: Money) -> None:
    await money.deposit(1_000_000)
    call_id = await money.hold(300)
    path = f"/wallet/settlements/{call_id}"
    pending = await data(client, path)
    assert (pending["status"], pending["asset"], pending["charged_micros"]) == ("pending", "USDC", None)
    await money.holds.void(call_id)
    cancelled = await data(client, path)
    assert (cancelled["status"], cancelled["charged_micros"]) == ("cancelled", 0)
    await money.call(40)
    charged = await pool.fetchval("SELECT call_id FROM holds WHERE state = 'posted'")
    paid = await data(client, f"/wallet/settlements/{charged}")
    assert (paid["receipt_id"], paid["status"], paid["charged_micros"]) == (str(charged), "paid", 40)
    await pool.execute("UPDATE holds SET expires_at = now() - interval '1 second' WHERE state = 'void'")
    assert (await data(client, path))["status"] == "expired"


async def test_anothers_receipt_is_as_absent_as_none(client: Client, pool: Pool, money: Money) -> None:
    await money.deposit(1_000_000)
    call_id = await money.hold(300)
    other = await join(pool)
    for path in (f"/wallet/settlements/{call_id}", f"/wallet/settlements/{uuid4()}"):
        assert (await client.get(path, headers=other.headers)).status == 404
    live = await join(pool, mode="live")
    assert (await client.get(f"/wallet/settlements/{call_id}", headers=live.headers)).status == 404
