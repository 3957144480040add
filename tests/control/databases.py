"""A project of the API's, and what it takes to have its operations run in a test."""

from typing import Any

from control.api.ports import Ports
from control.computes.local import LocalProvider
from control.postgres.actions import HANDLERS
from control.postgres.running import Runner
from gateway.kit.sql import Pool
from tests.control.conftest import Client

Json = dict[str, Any]


async def created(client: Client, **body: Any) -> Json:
    response = await client.post("/projects", json={"name": "shop", "region": "local", **body})
    made: Json = await response.json()
    assert response.status == 201, made
    project: Json = made["data"]
    return project


async def asked(client: Client, method: str, path: str, status: int = 200, **body: Any) -> Any:
    """What the answer has as its data; the whole of it if it has none."""
    response = await client.request(method, path, json=body if method != "GET" else None)
    told = await response.json() if response.content_type.endswith("json") else None
    assert response.status == status, told
    return told.get("data", told) if told is not None else None


async def run(pool: Pool, ports: Ports, computes: LocalProvider) -> int:
    return await Runner(pool, computes, ports.keyring, HANDLERS).drain()
