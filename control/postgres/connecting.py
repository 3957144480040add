"""The way into a branch's server, which is woken if it sleeps."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TypeGuard
from uuid import UUID

import asyncpg
from asyncpg import Record

from control.computes.provider import Address, ComputeProvider, ComputeSpec, ComputeUnavailable, TimelineBusy
from control.postgres import branches, endpoints, inventory, passwords
from gateway.kit.crypto import Keyring
from gateway.kit.problem import NotFound, Refusal
from gateway.kit.sql import Connection, Pool, Statements

SQL = Statements(__file__)

WAIT_SECONDS = 30.0
LOOK_SECONDS = 0.1
# Of our own visits to a branch without an endpoint.
VISIT = ComputeSpec(suspend_seconds=30)


class EndpointStopped(Refusal):
    status, slug, title = 409, "endpoint-stopped", "The endpoint was stopped"


class BranchUnusable(Refusal):
    status, slug, title = 409, "branch-unusable", "The branch has no data"


class PasswordUnknown(Refusal):
    status, slug, title = 409, "password-unknown", "The role's password was changed by SQL"


@dataclass(frozen=True, slots=True)
class Owner:
    name: str
    password: str = field(repr=False)
    address: Address


async def wake(pool: Pool, computes: ComputeProvider, endpoint_id: UUID) -> Address:
    """Where the endpoint's server listens, started if need be.

    Waits while its branch is being made or given other data. The pointer is looked at again after the start,
    so that nobody is let in to data that the branch pointed to a moment ago.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_SECONDS
    while True:
        row = await pool.fetchrow(endpoints.SQL.serving, endpoint_id)
        if is_servable(row):
            address = await started(computes, row)
            after = await pool.fetchrow(endpoints.SQL.serving, endpoint_id)
            if after is not None and leads(after) == leads(row):
                if after["status"] != "active":
                    await endpoints.become(pool, endpoint_id, "active")
                if after["timeline_state"] == "archived":
                    await branches.unpacked(pool, after["branch_id"])
                return address
            await computes.stop(str(endpoint_id))
        if loop.time() > deadline:
            raise ComputeUnavailable("the branch is still being made, or given other data")
        await asyncio.sleep(LOOK_SECONDS)


def is_servable(row: Record | None) -> TypeGuard[Record]:
    """False when it is soon, perhaps. Refuses what will not be."""
    if row is None:
        raise NotFound("there is no such endpoint")
    if row["is_disabled"]:
        raise EndpointStopped("somebody stopped this endpoint: start it first")
    if row["branch_state"] == "failed":
        raise BranchUnusable("the branch could not be made; its operations say why")
    return bool(row["branch_state"] == "ready")


def leads(row: Record) -> tuple[object, ...]:
    return row["timeline_id"], row["branch_state"], row["is_disabled"]


async def started(computes: ComputeProvider, row: Record) -> Address:
    endpoint, timeline, spec = str(row["id"]), str(row["timeline_id"]), spec_of(row)
    try:
        return await computes.start(endpoint, timeline, spec)
    except TimelineBusy:
        # It serves what its branch pointed to before.
        await computes.stop(endpoint)
        return await computes.start(endpoint, timeline, spec)


def spec_of(row: Record) -> ComputeSpec:
    return ComputeSpec(
        units=Decimal(row["compute_unit"]),
        suspend_seconds=row["suspend_timeout_seconds"],
        is_read_only=row["endpoint_type"] == "read_only",
        is_logical=row["enable_logical_replication"],
    )


@asynccontextmanager
async def visiting(
    computes: ComputeProvider, timeline_id: UUID, database: str = "postgres"
) -> AsyncIterator[Connection]:
    """A superuser's connection to a timeline that no endpoint leads to yet; its server stops afterwards."""
    visit = f"visit-{timeline_id}"
    await computes.start(visit, str(timeline_id), VISIT)
    try:
        connection = await computes.admin(visit, database)
        try:
            yield connection
        finally:
            await connection.close()
    finally:
        await computes.stop(visit)


@asynccontextmanager
async def admin(
    pool: Pool, computes: ComputeProvider, branch_id: UUID, database: str = "postgres"
) -> AsyncIterator[Connection]:
    """A superuser's connection to a branch's server, by its endpoint; by one of ours where it has none, or
    somebody stopped it.
    """
    endpoint_id = await endpoints.primary_of(pool, branch_id)
    if endpoint_id is None:
        row = await pool.fetchrow(SQL.timeline_of, branch_id)
        if row is None:
            raise NotFound("there is no such branch")
        if row["state"] != "ready":
            raise ComputeUnavailable("the branch is being made, or given other data")
        name = f"visit-{branch_id}"
        # With a slot that needs it a server does not start without.
        spec = replace(VISIT, is_logical=row["is_logical"])
        await visit_branch(computes, name, str(row["timeline_id"]), spec)
    else:
        await wake(pool, computes, endpoint_id)
        name = str(endpoint_id)
    connection = await computes.admin(name, database)
    try:
        yield connection
    finally:
        await connection.close()


async def visit_branch(computes: ComputeProvider, name: str, timeline: str, spec: ComputeSpec) -> None:
    try:
        await computes.start(name, timeline, spec)
    except TimelineBusy:
        await computes.stop(name)
        await computes.start(name, timeline, spec)


@asynccontextmanager
async def as_owner(
    pool: Pool, computes: ComputeProvider, keyring: Keyring, branch_id: UUID, database: str
) -> AsyncIterator[Connection]:
    """A connection as the role that owns the branch, with its password: whatever it runs may do no more."""
    owner = await owner_of(pool, computes, keyring, branch_id)
    address = owner.address
    try:
        connection = await asyncpg.connect(
            host=str(address.sockets), port=address.port, user=owner.name, password=owner.password,
            database=database, timeout=20, statement_cache_size=0, server_settings=dict(address.parameters),
        )  # fmt: skip
    except asyncpg.InvalidPasswordError:
        raise PasswordUnknown(f"the password of {owner.name} was changed by SQL: reset it") from None
    except asyncpg.InvalidCatalogNameError:
        raise NotFound(f"no database {database}") from None
    try:
        yield connection
    finally:
        await connection.close()


async def owner_of(pool: Pool, computes: ComputeProvider, keyring: Keyring, branch_id: UUID) -> Owner:
    """What it takes to connect as the role that owns the branch, whose server is woken."""
    endpoint_id = await endpoints.primary_of(pool, branch_id)
    if endpoint_id is None:
        raise EndpointStopped("the branch has no endpoint that runs: make one, or start it")
    row = next((one for one in await inventory.rows_of_roles(pool, branch_id) if one["is_protected"]), None)
    if row is None:
        raise PasswordUnknown("the branch has lost its owner")
    project_id = await pool.fetchval(SQL.project_of, branch_id)
    password = passwords.opened(keyring, project_id, row["id"], row["password"])
    if password is None:
        raise PasswordUnknown(f"the password of {row['name']} is not known here: reset it")
    address = await wake(pool, computes, endpoint_id)
    return Owner(row["name"], password, address)
