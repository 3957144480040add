"""A project with its database, as whoever uses the studio finds it: real Postgres on both sides."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.api.ports import Ports
from control.computes.local import LocalProvider
from control.computes.opening import opened
from control.postgres.actions import HANDLERS
from control.postgres.running import Runner
from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member
from tests.control.postgres.conftest import root as root

Json: TypeAlias = dict[str, Any]


@pytest.fixture
async def computes(root: Any) -> AsyncIterator[LocalProvider]:
    async with opened(root, look_seconds=3600) as provider:
        yield provider
        await provider.stop_all()


@dataclass(frozen=True, slots=True)
class Studio:
    client: Client
    project: Json
    runner: Runner

    @property
    def at(self) -> str:
        return f"/v1/projects/{self.project['id']}/studio"

    async def ask(self, method: str, path: str, status: int, body: Any = None, **more: Any) -> Any:
        response = await self.client.request(method, self.at + path, json=body, **more)
        told = await response.json()
        assert response.status == status, (method, path, response.status, told)
        return told

    async def get(self, path: str, **query: str) -> Any:
        return await self.ask("GET", path, 200, params=query)

    async def post(self, path: str, status: int = 201, **body: Any) -> Any:
        return await self.ask("POST", path, status, body)

    async def patch(self, path: str, status: int = 200, **body: Any) -> Any:
        return await self.ask("PATCH", path, status, body)

    async def delete(self, path: str, status: int = 200, **body: Any) -> Any:
        return await self.ask("DELETE", path, status, body or None)

    async def sql(self, statement: str, status: int = 200) -> Any:
        return await self.post("/query", status, sql=statement)

    async def table(self, name: str = "notes", *columns: Json, **more: Any) -> None:
        key = {"name": "id", "type": "bigint", "primaryKey": True}
        await self.post("/tables", tableName=name, columns=[key, *columns], **more)


@pytest.fixture
async def studio(
    pool: Pool, ports: Ports, member: Member, computes: LocalProvider, aiohttp_client: AiohttpClient
) -> Studio:
    """The server of its project sleeps: nobody has asked it anything yet."""
    client = await aiohttp_client(app.create(pool, replace(ports, computes=computes)), headers=member.headers)
    response = await client.post("/v1/projects", json={"name": "Notes"})
    project = (await response.json())["project"]
    runner = Runner(pool, computes, ports.keyring, HANDLERS)
    await runner.drain()
    return Studio(client, project, runner)
