import asyncio
from datetime import timedelta
from uuid import uuid4

from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import accounts, usage
from gateway.ledger.batches import Posting
from gateway.ledger.purses import Purses
from gateway.ledger.usage import Usage
from tests.control.conftest import TEST_USDC, Client, Member, join
from tests.control.money import Money, data, money
from tests.gateway.charges import charge_of

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


async def test_a_receipt_of_a_call_that_was_paid_from_a_purse(
    client: Client, pool: Pool, money: Money, member: Member
) -> None:
    """Such a call has no hold: what became of it is in its usage row."""
    await money.deposit(1_000_000)
    purses = Purses(pool, timedelta(minutes=5))
    while (purse := purses.draw(money.owner, TEST_USDC, 40)) is None:
        await asyncio.gather(*purses.crew.tasks)
    charged, refused = ids.new(), ids.new()
    payee = await accounts.ensure(pool, money.owner, TEST_USDC, "earnings")
    posting = Posting(charged, 40, 0, "GET weather/today", money.publisher_id, "GET", "/today", 200)
    assert await purses.charge(charge_of(purse, payee, posting))
    await purses.close()
    unserved = Usage(
        refused, money.publisher_id, money.owner, None, "prepaid", "GET", "/", "upstream_refused", 404
    )
    await usage.record(pool, [unserved])
    for call_id, status, micros in ((charged, "paid", 40), (refused, "cancelled", 0)):
        receipt = await data(client, f"/wallet/settlements/{call_id}")
        assert (receipt["status"], receipt["asset"], receipt["charged_micros"]) == (status, "USDC", micros)
        other = await join(pool)
        path = f"/wallet/settlements/{call_id}"
        assert (await client.get(path, headers=other.headers)).status == 404
        live = await join(pool, mode="live")
        assert (await client.get(path, headers=live.headers)).status == 404


async def test_anothers_receipt_is_as_absent_as_none(client: Client, pool: Pool, money: Money) -> None:
    await money.deposit(1_000_000)
    call_id = await money.hold(300)
    other = await join(pool)
    for path in (f"/wallet/settlements/{call_id}", f"/wallet/settlements/{uuid4()}"):
        assert (await client.get(path, headers=other.headers)).status == 404
    live = await join(pool, mode="live")
    assert (await client.get(f"/wallet/settlements/{call_id}", headers=live.headers)).status == 404
