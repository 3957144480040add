"""The books are compared, and every difference that somebody makes is named."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from config.money import Reconcile
from config.settings import Settings
from control.metering import rollups
from control.processors.port import Processors
from control.reconciling import runs
from gateway.kit.sql import Pool
from tests.paths.conftest import Farebox

LATELY = timedelta(days=1)


@pytest.fixture
async def busy(farebox: Farebox) -> Farebox:
    """With a deposit on chain, calls from the balance, and one paid by x402."""
    shop = await farebox.publish()
    account = await farebox.sign_up()
    deposit = f"{farebox.origin}/wallet/deposit/crypto"
    paid = await farebox.pay("POST", deposit, headers=account.headers, body={"amount": "1"})
    assert paid.status == 200, paid.text
    for _ in range(2):
        assert (await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)).status == 200
    assert (await farebox.pay("GET", f"{shop}/y")).status == 200
    await rollups.roll_up(farebox.pool)
    return farebox


async def differences(farebox: Farebox, settings: Settings | None = None) -> dict[str, list[str]]:
    """The subjects by check, of those that found something."""
    compared = runs.compare(farebox.pool, settings or farebox.settings, Processors(), LATELY)
    return {
        one.name: [difference.subject.split()[0] for difference in one.differences]
        async for one in compared
        if one.differences
    }


async def test_books_that_nobody_touched_agree(busy: Farebox) -> None:
    results = [one async for one in runs.compare(busy.pool, busy.settings, Processors(), LATELY)]
    assert [one for one in results if one.differences or one.obstacle] == []
    assert {one.name for one in results} >= {"usage", "posted", "payments", "chain"}


async def tamper(pool: Pool, statement: str) -> None:
    """As only somebody could who has the database, or a bug in a trigger."""
    async with pool.acquire() as db:
        await db.execute("SET session_replication_role = replica")
        done = await db.execute(statement)
        await db.execute("SET session_replication_role = DEFAULT")
    assert not done.endswith(" 0"), "the statement changed nothing"


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE accounts SET posted = posted + 1 WHERE kind = 'earnings'", {"posted", "sums"}),
        ("UPDATE accounts SET held = held + 1 WHERE kind = 'funded'", {"held"}),
        ("UPDATE usage_events SET cost = cost + 1 WHERE rail = 'prepaid'", {"usage", "days"}),
        ("DELETE FROM usage_events WHERE rail = 'x402'", {"usage", "days", "earned"}),
        ("UPDATE holds SET spent = spent - 1 WHERE state = 'posted'", {"holds"}),
        ("UPDATE usage_days SET calls = calls + 1", {"days"}),
        ("UPDATE payments SET amount = amount + 1 WHERE purpose = 'call'", {"payments", "chain"}),
        ("UPDATE payments SET state = 'failed' WHERE purpose = 'deposit'", {"payments"}),
        ("UPDATE payments SET known_hash = sha256('x')", {"chain"}),
        ("UPDATE payments SET pay_to = payer WHERE purpose = 'call'", {"chain"}),
        (
            "UPDATE entries SET amount = amount - 1 FROM accounts WHERE accounts.id = account_id"
            " AND kind = 'earnings'",
            {"transfers", "posted", "usage", "holds", "earned"},
        ),
    ],
)
async def test_a_difference_is_named(busy: Farebox, statement: str, found: set[str]) -> None:
    await tamper(busy.pool, statement)
    assert set(await differences(busy)) == found


async def test_a_chain_that_cannot_be_asked_is_no_difference(busy: Farebox) -> None:
    network = busy.settings.networks[0].model_copy(update={"rpc_url": "http://127.0.0.1:9"})
    away = busy.settings.model_copy(update={"networks": (network,)})
    results = [one async for one in runs.compare(busy.pool, away, Processors(), LATELY)]
    assert [one.name for one in results if one.obstacle] == ["chain"]
    assert [one.name for one in results if one.differences] == []


async def test_a_night_is_one_run_however_many_ask_for_it(busy: Farebox) -> None:
    at_once = busy.settings.model_copy(update={"reconcile": Reconcile(hour=0)})
    made = await asyncio.gather(*(runs.tonight(busy.pool, at_once, Processors()) for _ in range(5)))
    assert [one is None for one in made].count(False) == 1
    assert await runs.tonight(busy.pool, at_once, Processors()) is None
    row = await busy.pool.fetchrow("SELECT day, differences, obstacles FROM reconciliations")
    assert tuple(row or ()) == (datetime.now(UTC).date(), 0, 0)


async def test_a_run_whose_process_died_is_made_again(busy: Farebox) -> None:
    at_once = busy.settings.model_copy(update={"reconcile": Reconcile(hour=0)})
    today = datetime.now(UTC).date()
    begun = (
        "INSERT INTO reconciliations (id, day, started_at)"
        " VALUES (gen_random_uuid(), $1, now() - $2::interval)"
    )
    await busy.pool.execute(begun, today, timedelta(minutes=30))
    assert await runs.tonight(busy.pool, at_once, Processors()) is None
    await busy.pool.execute("UPDATE reconciliations SET started_at = now() - interval '3 hours'")
    assert await runs.tonight(busy.pool, at_once, Processors()) is not None


Run = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def reconcile(busy: Farebox, database_url: str) -> Run:
    async def run(*arguments: str, **more: str) -> tuple[int, str]:
        known = busy.settings.networks[0]
        network = {
            "id": known.id,
            "rpc_url": known.rpc_url,
            "facilitator_key": "0x" + "11" * 32,
            "assets": [one.model_dump(mode="json") for one in known.assets],
        }
        environment = {
            "PATH": os.defpath,
            "FAREBOX_POSTGRES__DSN": database_url,
            "FAREBOX_NETWORKS": json.dumps([network]),
            **more,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "control.cli.app", "reconcile", *arguments,
            env=environment, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
        return process.returncode or 0, out.decode()

    return run


async def test_the_command_says_what_differs_and_exits_with_it(busy: Farebox, reconcile: Run) -> None:
    status, said = await reconcile()
    assert (status, said.splitlines()[-1]) == (0, "0 differences, 0 not compared")
    await tamper(busy.pool, "UPDATE accounts SET posted = posted + 5 WHERE kind = 'earnings'")
    status, said = await reconcile()
    assert status == 1
    account = await busy.pool.fetchrow("SELECT id, posted FROM accounts WHERE kind = 'earnings'")
    assert account is not None
    assert f"account {account['id']}" in said
    assert f"expected {account['posted'] - 5}, found {account['posted']}" in said
    status, said = await reconcile("--json")
    results: list[dict[str, Any]] = json.loads(said)["results"]
    assert [one["name"] for one in results if one["differences"]] == ["posted", "sums"]


async def test_what_could_not_be_compared_has_an_exit_status_of_its_own(
    busy: Farebox, reconcile: Run
) -> None:
    status, said = await reconcile(FAREBOX_NETWORKS="[]")
    assert status == 3, said
    assert "not compared" in said


async def test_an_installation_without_a_single_call_has_nothing_to_differ(farebox: Farebox) -> None:
    assert await differences(farebox) == {}
