from collections.abc import AsyncIterator, Generator, Iterator
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from pydantic_settings import BaseSettings, SettingsConfigDict

from control import migrate
from gateway.kit import sql
from gateway.kit.sql import Pool
from tests import postgres
from tests import valkey as valkey_server


class TestRun(BaseSettings):
    """Its own prefix, so that no test ever meets the database of a running installation."""

    model_config = SettingsConfigDict(env_prefix="FAREBOX_TEST_")

    postgres_dsn: str | None = None


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """One more than cores: for a third of their time tests wait, for a deadline or for another process."""
    return (yield) + 1


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The DSN in ``FAREBOX_TEST_POSTGRES_DSN``, or a server of this run's own."""
    dsn = TestRun().postgres_dsn
    if dsn is not None:
        yield dsn
        return
    with postgres.running() as own:
        yield own


@pytest.fixture
async def empty(server: str) -> AsyncIterator[str]:
    """The DSN of a database with nothing in it."""
    name = f"empty_{uuid4().hex}"
    admin = await asyncpg.connect(server)
    await admin.execute(f"CREATE DATABASE {name}")
    yield server.replace("/postgres?", f"/{name}?")
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """A URL for redis-py. Tests share it, and tell themselves apart by their keys."""
    with valkey_server.running() as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template(server: str) -> AsyncIterator[str]:
    """The name of a migrated database to copy."""
    name = f"template_{uuid4().hex}"
    admin = await asyncpg.connect(server)
    await admin.execute(f"CREATE DATABASE {name}")
    migrated = await asyncpg.connect(server, database=name)
    await migrate.apply(migrated, migrate.files())
    await migrated.close()
    yield name
    await admin.execute(f"DROP DATABASE {name}")
    await admin.close()


@pytest.fixture
async def database(server: str, template: str) -> AsyncIterator[str]:
    """A database of its own for each test: a schema would still share NOTIFY and advisory locks."""
    name = f"test_{uuid4().hex}"
    admin = await asyncpg.connect(server)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield name
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest.fixture
async def pool(server: str, database: str) -> AsyncIterator[Pool]:
    async with sql.create_pool(server, database=database, size_max=20) as pool:
        yield pool
