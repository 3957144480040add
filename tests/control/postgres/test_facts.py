"""What the wire proxy is told of endpoints and roles, by rows and servers that are real."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

import asyncpg
import pytest

from config.plans import Plan
from control.computes.local import LocalProvider
from control.computes.provider import State
from control.postgres import contents, inventory, roles
from control.postgres.inventory import Inventory
from control.postgres.running import Runner
from control.quotas import choices
from control.roles.facts import Facts
from gateway.kit import ids
from gateway.kit.crypto import Keyring
from gateway.kit.sql import Connection, Db, Pool
from gateway.pgwire.computes import NotAllowed, NotStarted
from tests.control.postgres.conftest import Project

SMALL = Plan(id="small", name="Small", quotas={"compute_seconds": 100})
SOFT = Plan(id="soft", name="Soft", quotas=SMALL.quotas, soft=("compute_seconds",))
LARGE = Plan(id="large", name="Large", quotas={"compute_seconds": 1000})
PLANS = (SMALL, SOFT, LARGE)


@pytest.fixture
async def facts(pool: Pool, computes: LocalProvider, runner: Runner, project: Project) -> Facts:
    await runner.drain()
    return Facts(pool, computes, PLANS)


async def plan(pool: Pool, chosen: Plan) -> None:
    """From now on."""
    organization_id = await pool.fetchval("SELECT organization_id FROM projects")
    async with pool.acquire() as db, db.transaction():
        now = await db.fetchval("SELECT now()")
        await choices.change(
            db, organization_id, await choices.current(db, organization_id, now), chosen, now, now
        )


async def label_of(pool: Pool, project: Project) -> str:
    label: str = await pool.fetchval("SELECT label FROM endpoints WHERE id = $1", project.endpoint_id)
    return label


async def test_an_endpoint_is_what_its_rows_say(facts: Facts, pool: Pool, project: Project) -> None:
    label = await label_of(pool, project)
    for address in ("192.0.2.0/24", "2001:db8::/32"):
        await pool.execute(
            "INSERT INTO ip_allow (id, project_id, ip_address, created_by) "
            "VALUES ($1, $2, $3::text::cidr, $4)",
            ids.new(), project.id, address, project.user_id,
        )  # fmt: skip
    found = await facts.find(label)
    assert found is not None
    assert (found.id, found.branch_id, found.pooler_mode) == (
        project.endpoint_id, project.branch_id, "transaction",
    )  # fmt: skip
    assert set(found.allowed) == {ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")}
    await pool.execute("UPDATE projects SET protected_branches_only = true, block_public_connections = true")
    facts.endpoints.kept.clear()
    found = await facts.find(label)
    assert found is not None
    # The list is for protected branches alone, and this is none.
    assert found.allowed == ()
    assert found.is_public_blocked
    await pool.execute("UPDATE endpoints SET deleted_at = now()")
    facts.endpoints.kept.clear()
    assert await facts.find(label) is None


async def test_roles_made_by_sql_are_found_while_it_is_awake(
    facts: Facts, pool: Pool, computes: LocalProvider, project: Project
) -> None:
    found = await facts.find(await label_of(pool, project))
    assert found is not None
    assert (await facts.verifier(found, "app") or "").startswith("SCRAM-SHA-256$4096:")
    # Nobody is woken for a name.
    assert await facts.verifier(found, "late") is None
    assert (await computes.status(str(found.id))).state is State.IDLE
    address = await facts.wake(found)
    assert address.socket.is_socket()
    admin = await computes.admin(str(found.id))
    await admin.execute("CREATE ROLE late LOGIN PASSWORD 'one'")
    forget(facts)
    first = await facts.verifier(found, "late")
    assert first is not None
    await admin.execute("ALTER ROLE late PASSWORD 'two'")
    forget(facts)
    facts.refused(found, "late")
    async with asyncio.timeout(30):
        while await facts.verifier(found, "late") == first:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await admin.close()
    await facts.close()


async def test_a_guess_does_not_undo_a_password_that_is_being_set(
    facts: Facts, pool: Pool, computes: LocalProvider, keyring: Keyring, project: Project,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    found = await facts.find(await label_of(pool, project))
    assert found is not None
    await facts.wake(found)
    secret, look = await roles.secret_of(), inventory.look

    async def overtaken(admin: Connection) -> Inventory:
        """What was there a moment ago; then somebody sets the password by the API."""
        monkeypatch.setattr(inventory, "look", look)
        seen = await look(admin)
        changing = contents.changing(pool, computes, pooled(pool), project.branch_id)
        async with changing as (db, connection):
            role = await roles.find(db, project.branch_id, None, "app")
            assert role is not None
            await roles.reset(db, connection, keyring, project.id, role, secret)
        return seen

    # The server has something else than the rows, so that there is something to be learnt.
    await pool.execute("UPDATE database_roles SET verifier = 'before'")
    monkeypatch.setattr(inventory, "look", overtaken)
    assert await facts.look(found, "app")
    assert await facts.verifier(found, "app") == secret.verifier
    role = await roles.find(pool, project.branch_id, None, "app")
    assert role is not None
    assert roles.reveal(keyring, project.id, role) == secret.password
    await facts.close()


@asynccontextmanager
async def pooled(pool: Pool) -> AsyncIterator[Db]:
    async with pool.acquire() as db, db.transaction():
        yield db


def forget(facts: Facts) -> None:
    facts.refusals.kept.clear()
    facts.looks.kept.clear()


async def test_guesses_are_no_storm_of_queries(facts: Facts, pool: Pool, project: Project) -> None:
    found = await facts.find(await label_of(pool, project))
    assert found is not None
    await facts.wake(found)
    asked: list[str] = []
    fetch = facts.fetch

    async def counted(statement: str, *arguments: object) -> asyncpg.Record | None:
        asked.append(statement)
        return await fetch(statement, *arguments)

    facts.fetch = counted  # type: ignore[method-assign]
    for _ in range(50):
        assert await facts.verifier(found, "nobody") is None
        await facts.find(found.label)
        await facts.find("ep-nobody")
    assert len(asked) <= 6
    await facts.close()


async def test_what_cannot_be_woken_says_why(facts: Facts, pool: Pool, project: Project) -> None:
    found = await facts.find(await label_of(pool, project))
    assert found is not None
    await pool.execute("UPDATE endpoints SET is_disabled = true")
    with pytest.raises(NotStarted, match="somebody stopped this endpoint"):
        await facts.wake(found)


async def test_a_plan_that_is_used_up_wakes_nothing_and_a_larger_one_does_at_once(
    facts: Facts, pool: Pool, computes: LocalProvider, project: Project
) -> None:
    found = await facts.find(await label_of(pool, project))
    assert found is not None

    async def use(seconds: int) -> None:
        await pool.execute(
            "INSERT INTO meter_days (organization_id, project_id, meter, compute_units, day, quantity) "
            "SELECT organization_id, id, 'active_seconds', 1, (now() AT TIME ZONE 'UTC')::date, $1 "
            "FROM projects ON CONFLICT (project_id, day, meter, compute_units, organization_id) "
            "DO UPDATE SET quantity = EXCLUDED.quantity",
            seconds,
        )

    await use(99)
    await facts.wake(found)
    await use(100)
    # What runs goes on, and lets in who comes.
    await facts.wake(found)
    await computes.stop(str(found.id))
    await pool.execute("UPDATE endpoints SET status = 'idle'")
    with pytest.raises(NotAllowed, match="the plan Small has room for 100 compute_seconds") as refused:
        await facts.wake(found)
    assert refused.value.sqlstate == "53400"
    assert (await computes.status(str(found.id))).state is State.IDLE
    await plan(pool, LARGE)
    await facts.wake(found)
    await use(2000)
    await plan(pool, SOFT)
    await computes.stop(str(found.id))
    await pool.execute("UPDATE endpoints SET status = 'idle'")
    await facts.wake(found)
