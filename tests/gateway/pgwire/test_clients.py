"""Real clients through the proxy, each as its users have it."""

import asyncio
from typing import Any

import psycopg
import pytest

from tests.gateway.pgwire.conftest import Stage

pytestmark = pytest.mark.asyncio(loop_scope="module")


def ask(dsn: str, query: str = "SELECT current_user || ' ' || 1") -> Any:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


async def test_asyncpg_speaks_plainly(stage: Stage) -> None:
    connection = await stage.connect()
    assert await connection.fetchval("SELECT $1::int + 1", 41) == 42
    await connection.close()


@pytest.mark.parametrize(
    "more",
    [
        {},  # SNI, verify-full and channel_binding=require
        {"sslnegotiation": "direct"},
        {"max_protocol_version": "latest"},
        {"min_protocol_version": "3.2", "max_protocol_version": "3.2"},
        {"channel_binding": "disable"},
    ],
)
async def test_libpq_names_the_endpoint_by_its_host(stage: Stage, more: dict[str, str]) -> None:
    assert await asyncio.to_thread(ask, stage.by_name(**more)) == [("app 1",)]
