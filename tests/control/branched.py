"""A project with data, seen through the management API, and real Postgres on both sides of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.api.ports import Ports
from control.computes.local import LocalProvider
from control.computes.provider import Address
from control.postgres import connecting, founding
from control.postgres.actions import HANDLERS
from control.postgres.running import Runner
from gateway.kit import ids
from gateway.kit.sql import Connection, Db, Pool
from tests.control.conftest import Client, Member
from tests.control.postgres.conftest import computes as computes
from tests.control.postgres.conftest import root as root


@dataclass(frozen=True, slots=True)
class Branch:
    client: Client
    pool: Pool
    ports: Ports
    runner: Runner
    computes: LocalProvider
    project_id: UUID
    id: UUID
    endpoint_id: UUID
    user_id: UUID

    @property
    def project(self) -> str:
        return f"/projects/{self.project_id}"

    @property
    def path(self) -> str:
        return f"{self.project}/branches/{self.id}"

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """What is under the branch, with the status and what the answer says."""
        where = path if path.startswith("/projects") else self.path + path
        response = await self.client.request(method, where, json=body)
        return response.status, None if response.status == 204 else await response.json()

    async def got(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = await self.ask(method, path, body)
        assert status in (200, 201, 204), (status, answer)
        return None if answer is None else answer["data"]

    async def sleep(self) -> None:
        await self.computes.stop(str(self.endpoint_id))

    async def wake(self) -> Address:
        return await connecting.wake(self.pool, self.computes, self.endpoint_id)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Db]:
        async with self.pool.acquire() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def session(self, user: str, password: str, database: str = "app") -> AsyncIterator[Connection]:
        """As a client of the project has it."""
        address = await self.wake()
        connection = await asyncpg.connect(
            host=str(address.sockets), user=user, password=password, database=database, timeout=10
        )
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def owner(self, database: str = "app") -> AsyncIterator[Connection]:
        keyring = self.ports.keyring
        async with connecting.as_owner(self.pool, self.computes, keyring, self.id, database) as connection:
            yield connection


@pytest.fixture
async def branch(
    pool: Pool, ports: Ports, member: Member, computes: LocalProvider, aiohttp_client: AiohttpClient
) -> Branch:
    """Of the member's own project, made and asleep."""
    ports = replace(ports, computes=computes)
    client = await aiohttp_client(app.create(pool, ports), headers=member.headers)
    project_id = ids.new()
    await pool.execute(
        "INSERT INTO projects (id, organization_id, name, slug, region, created_by) "
        "VALUES ($1, $2, 'shop', $3, 'local', $4)",
        project_id, member.id.organization_id, project_id.hex[-12:], member.id.user_id,
    )  # fmt: skip
    async with pool.acquire() as db, db.transaction():
        await founding.found(db, ports.keyring, project_id, member.id.user_id)
    runner = Runner(pool, computes, ports.keyring, HANDLERS)
    await runner.drain()
    branch_id = await pool.fetchval("SELECT id FROM branches WHERE project_id = $1", project_id)
    endpoint_id = await pool.fetchval("SELECT id FROM endpoints WHERE project_id = $1", project_id)
    assert await pool.fetchval("SELECT state FROM branches WHERE id = $1", branch_id) == "ready"
    return Branch(
        client, pool, ports, runner, computes, project_id, branch_id, endpoint_id, member.id.user_id
    )
