"""Projects with data: one provider for a module's tests, real Postgres on both sides."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from control.computes.local import LocalProvider
from control.computes.opening import opened
from control.identity import people
from control.postgres import founding
from control.postgres.actions import HANDLERS
from control.postgres.running import Runner
from gateway.kit import crypto, ids
from gateway.kit.crypto import Keyring
from gateway.kit.sql import Pool


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """One for a module's tests, as its template takes a second to make. In memory: see ``computes``."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="data-", dir=memory if memory.is_dir() else "/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
async def computes(root: Path) -> AsyncIterator[LocalProvider]:
    async with opened(root, look_seconds=3600) as provider:
        yield provider
        await provider.stop_all()


@pytest.fixture
def keyring() -> Keyring:
    return Keyring.parse([crypto.new_key("test")])


@pytest.fixture
def runner(pool: Pool, computes: LocalProvider, keyring: Keyring) -> Runner:
    return Runner(pool, computes, keyring, HANDLERS)


@dataclass(frozen=True, slots=True)
class Project:
    id: UUID
    user_id: UUID
    branch_id: UUID
    endpoint_id: UUID


@pytest.fixture
async def project(pool: Pool, keyring: Keyring) -> Project:
    """Founded, and its operation waits."""
    return await founded(pool, keyring)


async def founded(pool: Pool, keyring: Keyring) -> Project:
    """In an organization of its own."""
    who = await people.create(pool, "agent", "Somebody", None)
    project_id = ids.new()
    await pool.execute(
        "INSERT INTO projects (id, organization_id, name, slug, region, created_by) "
        "VALUES ($1, $2, 'p', $3, 'local', $4)",
        project_id, who.organization_id, project_id.hex[-12:], who.user_id,
    )  # fmt: skip
    async with pool.acquire() as db, db.transaction():
        assert await founding.found(db, keyring, project_id, who.user_id)
        assert not await founding.found(db, keyring, project_id, who.user_id)
    branch_id = await pool.fetchval("SELECT id FROM branches WHERE project_id = $1", project_id)
    endpoint_id = await pool.fetchval("SELECT id FROM endpoints WHERE project_id = $1", project_id)
    return Project(project_id, who.user_id, branch_id, endpoint_id)
