"""A publisher's own PostgreSQL, reached over TCP with a password, as a publisher has one."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from tests import postgres
from tests.paths.conftest import Farebox

PASSWORD = "p@ss/word"
SCHEMA = f"""
CREATE ROLE shop_reader LOGIN PASSWORD '{PASSWORD}';
ALTER ROLE shop_reader SET track_activities = off;
CREATE ROLE watched LOGIN PASSWORD '{PASSWORD}';
CREATE ROLE powerful LOGIN PASSWORD '{PASSWORD}';
ALTER ROLE powerful SET track_activities = off;
GRANT pg_read_all_data TO powerful;
CREATE ROLE hermit LOGIN PASSWORD '{PASSWORD}';
ALTER ROLE hermit SET track_activities = off;
CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO items SELECT n, 'item ' || n FROM generate_series(1, 5000) AS n;
CREATE TABLE secrets (word text);
INSERT INTO secrets VALUES ('xyzzy');
COMMENT ON TABLE items IS 'What the shop has';
COMMENT ON COLUMN items.name IS 'As on the label';
GRANT SELECT ON items TO shop_reader, watched, powerful;
CREATE FUNCTION touch() RETURNS int LANGUAGE sql AS 'INSERT INTO items VALUES (-1, ''x'') RETURNING 1';
CREATE FUNCTION endless() RETURNS SETOF int LANGUAGE plpgsql AS
    'BEGIN RETURN NEXT 1; PERFORM pg_sleep(60); END';
ANALYZE items;
"""


@dataclass(slots=True)
class Seller:
    port: int
    admin: asyncpg.Connection

    def dsn(self, user: str = "shop_reader", **more: str) -> str:
        password = more.get("password", "p%40ss%2Fword")
        host, mode = more.get("host", "127.0.0.1"), more.get("sslmode", "disable")
        options = f"?sslmode={mode}" if mode else ""
        return f"postgresql://{user}:{password}@{host}:{self.port}/postgres{options}"

    async def sell(self, farebox: Farebox, **more: Any) -> str:
        config = more.pop("config", None) or {"connection_string": more.pop("dsn", None) or self.dsn()}
        prices = {"price_per_call": None, "base_price_per_1000_rows": "1.00"}
        fields: dict[str, Any] = {"publisher_category": "database", "api_url": None, **prices, **more}
        return await farebox.publish(**fields, database_config=config)


@contextmanager
def selling() -> Iterator[tuple[str, int]]:
    """The server's directory and port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with postgres.running(listen_addresses="127.0.0.1", port=str(port), temp_file_limit="100MB") as dsn:
        directory = parse_qs(urlsplit(dsn).query)["host"][0]
        (Path(directory) / "data" / "pg_hba.conf").write_text(
            "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        )
        asyncio.run(prepare(directory, port))
        yield directory, port


async def prepare(directory: str, port: int) -> None:
    async with administered(directory, port) as seller:
        await seller.admin.execute(SCHEMA)
        await seller.admin.execute("SELECT pg_reload_conf()")
        await asyncio.sleep(0.1)


@asynccontextmanager
async def administered(directory: str, port: int) -> AsyncIterator[Seller]:
    admin = await asyncpg.connect(host=directory, port=port, user="postgres", database="postgres")
    try:
        yield Seller(port, admin)
    finally:
        await admin.close()


@pytest.fixture(scope="module")
def shop_server() -> Iterator[tuple[str, int]]:
    """A seller's own PostgreSQL: its directory and port."""
    with selling() as where:
        yield where


@pytest.fixture
async def seller(shop_server: tuple[str, int]) -> AsyncIterator[Seller]:
    async with administered(*shop_server) as seller:
        yield seller
