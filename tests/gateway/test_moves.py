import asyncio
from uuid import uuid4

import asyncpg
import pytest

from gateway.kit.sql import Pool
from gateway.ledger import accounts
from gateway.ledger.accounts import PLATFORM
from gateway.ledger.moves import Short, move
from tests.gateway.conftest import EURC, USDC, Ledger


async def test_a_cause_moves_money_once_however_many_try_at_once(crowd: Pool, ledger: Ledger) -> None:
    funded = await ledger.deposit(await ledger.organization(), 1000)
    fees = await accounts.ensure(crowd, PLATFORM, USDC.id, "fees")
    cause, legs = uuid4(), {funded: -300, fees: 300}
    moved = await asyncio.gather(*(move(crowd, "invoice", cause, "January", legs) for _ in range(20)))
    assert sum(one is not None for one in moved) == 1
    assert await crowd.fetchval("SELECT posted FROM accounts WHERE id = $1", funded) == 700
    assert await ledger.is_sound()


async def test_a_race_for_the_same_money_has_one_winner_and_the_losers_transactions_go_on(
    crowd: Pool, ledger: Ledger
) -> None:
    funded = await ledger.deposit(await ledger.organization(), 500)
    fees = await accounts.ensure(crowd, PLATFORM, USDC.id, "fees")

    async def take() -> str:
        async with crowd.acquire() as connection, connection.transaction():
            try:
                await move(connection, "invoice", uuid4(), "January", {funded: -300, fees: 300})
            except Short:
                assert await connection.fetchval("SELECT 1") == 1
                return "short"
            return "moved"

    assert sorted(await asyncio.gather(*(take() for _ in range(8)))) == ["moved"] + ["short"] * 7
    assert await crowd.fetchval("SELECT posted FROM accounts WHERE id = $1", funded) == 200
    assert await ledger.is_sound()


async def test_what_is_held_is_not_there_to_be_moved(ledger: Ledger) -> None:
    funded = await ledger.deposit(await ledger.organization(), 500)
    fees = await accounts.ensure(ledger.pool, PLATFORM, USDC.id, "fees")
    await ledger.pool.execute("UPDATE accounts SET held = 400 WHERE id = $1", funded)
    with pytest.raises(Short):
        await move(ledger.pool, "invoice", uuid4(), "January", {funded: -101, fees: 101})
    assert await move(ledger.pool, "invoice", uuid4(), "January", {funded: -100, fees: 100})


@pytest.mark.parametrize("case", ["unbalanced", "two assets", "no such account"])
async def test_a_transfer_that_makes_no_sense_is_refused_by_the_database(ledger: Ledger, case: str) -> None:
    funded = await ledger.deposit(await ledger.organization(), 500)
    other = {
        "unbalanced": (await accounts.ensure(ledger.pool, PLATFORM, USDC.id, "fees"), 99),
        "two assets": (await accounts.ensure(ledger.pool, PLATFORM, EURC.id, "fees"), 100),
        "no such account": (uuid4(), 100),
    }[case]
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await move(ledger.pool, "invoice", uuid4(), "January", dict([(funded, -100), other]))
    assert await ledger.is_sound()


async def test_clearing_accounts_alone_go_below_zero(ledger: Ledger) -> None:
    bank = await accounts.ensure(ledger.pool, PLATFORM, USDC.id, "bank")
    budget = await accounts.ensure(ledger.pool, PLATFORM, USDC.id, "promotion_budget")
    funded = await ledger.deposit(await ledger.organization(), 0)
    with pytest.raises(Short):
        await move(ledger.pool, "grant", uuid4(), "welcome", {budget: -1, funded: 1})
    await move(ledger.pool, "deposit", uuid4(), "the operator's promotion budget", {bank: -50, budget: 50})
    assert await ledger.balance(PLATFORM, kind="bank") == (-50, 0)
