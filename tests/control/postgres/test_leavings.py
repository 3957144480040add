"""Roles by which nobody sells any more are dropped, and no others."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from control.computes.local import LocalProvider
from control.postgres import connecting, contents
from control.postgres.running import Runner
from control.selling import leavings
from control.selling.branches import SoldBranches
from gateway.kit import crypto
from gateway.kit.crypto import Keyring
from gateway.kit.sql import Pool
from gateway.upstreams import branches
from gateway.upstreams.branches import Branch
from tests.control.postgres.conftest import Project

NOW = timedelta(0)


async def roles(pool: Pool, computes: LocalProvider, branch_id: UUID) -> set[str]:
    async with connecting.admin(pool, computes, branch_id) as admin:
        rows = await admin.fetch("SELECT rolname FROM pg_roles WHERE rolname ^@ 'farebox_sells'")
    return {row["rolname"] for row in rows}


async def publish(pool: Pool, keyring: Keyring, publisher_id: UUID, sold: Branch) -> None:
    sealed = keyring.seal(
        branches.sealed_text(sold).encode(), crypto.context(sold.organization_id, publisher_id)
    )
    await pool.execute(
        "INSERT INTO publishers (id, organization_id, slug, name, category, wallet_address, auth_type, "
        "wallet_network_id, details, database_sealed) "
        "VALUES ($1, $2, $3, 'Shop', 'database', '', 'static', 'x', '{}', $4) "
        "ON CONFLICT (id) DO UPDATE SET database_sealed = EXCLUDED.database_sealed",
        publisher_id, sold.organization_id, publisher_id.hex[-12:], sealed,
    )  # fmt: skip


@pytest.fixture
async def seller(
    pool: Pool, computes: LocalProvider, keyring: Keyring, runner: Runner, project: Project
) -> tuple[UUID, Branch]:
    await runner.drain()
    async with connecting.as_owner(pool, computes, keyring, project.branch_id, "app") as owner:
        await owner.execute("CREATE TABLE items AS SELECT 1 AS id")
        await owner.execute("CREATE DATABASE more")
    organization_id = await pool.fetchval("SELECT organization_id FROM projects")
    publisher_id = uuid4()
    role = f"farebox_sells_{publisher_id.hex}_0123456789ab"
    sold = Branch(organization_id, project.branch_id, "app", role, "p" * 32, ("public.items",))
    await publish(pool, keyring, publisher_id, sold)
    return publisher_id, sold


async def test_a_role_goes_with_its_publisher_or_what_it_sold(
    pool: Pool, computes: LocalProvider, keyring: Keyring, seller: tuple[UUID, Branch]
) -> None:
    publisher_id, sold = seller
    await SoldBranches(pool, computes).wake(sold)
    await contents.refresh(pool, computes, sold.id)
    assert await leavings.drop(pool, computes, keyring, NOW) == 0
    # It sells something else, and gateways have heard of it.
    other = replace(sold, role=sold.role[:-12] + "f" * 12)
    await publish(pool, keyring, publisher_id, other)
    await SoldBranches(pool, computes).wake(other)
    await contents.refresh(pool, computes, sold.id)
    assert await roles(pool, computes, sold.id) == {sold.role, other.role}
    assert await leavings.drop(pool, computes, keyring) == 0
    assert await leavings.drop(pool, computes, keyring, NOW) == 1
    assert await roles(pool, computes, sold.id) == {other.role}
    # The publisher is gone; nobody is woken for what it leaves.
    await pool.execute("UPDATE publishers SET deleted_at = now()")
    await pool.execute("UPDATE endpoints SET status = 'idle'")
    assert await leavings.drop(pool, computes, keyring, NOW) == 0
    await pool.execute("UPDATE endpoints SET status = 'active'")
    assert await leavings.drop(pool, computes, keyring, NOW) == 1
    assert await roles(pool, computes, sold.id) == set()
    rows = await pool.fetchval("SELECT count(*) FROM database_roles WHERE name ^@ 'farebox_'")
    assert rows == 0


async def test_what_a_role_owns_is_not_dropped_with_it(
    pool: Pool, computes: LocalProvider, keyring: Keyring, seller: tuple[UUID, Branch]
) -> None:
    _, sold = seller
    await SoldBranches(pool, computes).wake(sold)
    async with connecting.admin(pool, computes, sold.id, "app") as admin:
        await admin.execute(f"ALTER TABLE public.items OWNER TO {sold.role}")
    await contents.refresh(pool, computes, sold.id)
    await pool.execute("UPDATE publishers SET deleted_at = now()")
    assert await leavings.drop(pool, computes, keyring, NOW) == 0
    assert await roles(pool, computes, sold.id) == {sold.role}
