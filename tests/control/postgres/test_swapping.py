"""Branches that are given other data: reset, restored, archived, emptied, deleted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from control.computes.local import LocalProvider
from control.computes.provider import HEAD, At
from control.postgres import (
    asking,
    connecting,
    following,
    founding,
    inventory,
    measuring,
    operations,
    passwords,
    sweeping,
)
from control.postgres.asking import Asker
from control.postgres.branches import NewBranch
from control.postgres.endpoints import NewEndpoint
from control.postgres.refusals import BranchNotReady
from control.postgres.running import Runner
from gateway.kit.crypto import Keyring
from gateway.kit.problem import Refusal
from gateway.kit.sql import Connection, Pool
from tests.control.postgres.conftest import Project


@dataclass(frozen=True, slots=True)
class Shop:
    """A project's branches, as somebody uses them."""

    pool: Pool
    computes: LocalProvider
    runner: Runner
    project: Project

    @asynccontextmanager
    async def asker(self) -> AsyncIterator[Asker]:
        async with self.pool.acquire() as db, db.transaction():
            yield Asker(db, self.project.id, self.project.user_id)

    async def branch(self, name: str, parent: UUID | None = None, at: At = HEAD, **more: Any) -> UUID:
        async with self.asker() as asker:
            new = NewBranch(self.project.id, name, self.project.id, self.project.user_id, **more)
            made = await asking.create(
                asker,
                self.runner.keyring,
                parent or self.project.branch_id,
                new,
                [NewEndpoint()],
                at,
                is_archived=False,
            )
        await self.runner.drain()
        return made.branch_id

    @asynccontextmanager
    async def owner(self, branch_id: UUID | None = None) -> AsyncIterator[Connection]:
        where = branch_id or self.project.branch_id
        async with connecting.as_owner(self.pool, self.computes, self.runner.keyring, where, "app") as owner:
            yield owner

    async def numbers(self, branch_id: UUID | None = None) -> list[int]:
        async with self.owner(branch_id) as owner:
            return [row["n"] for row in await owner.fetch("SELECT n FROM kept ORDER BY n")]

    async def write(self, number: int, branch_id: UUID | None = None) -> str:
        """Returns where it was before."""
        async with self.owner(branch_id) as owner:
            lsn = await owner.fetchval("SELECT pg_current_wal_flush_lsn()::text")
            await owner.execute("INSERT INTO kept VALUES ($1)", number)
        return str(lsn)

    async def last(self) -> tuple[str, str | None]:
        row = await self.pool.fetchrow("SELECT status, error FROM operations ORDER BY number DESC LIMIT 1")
        assert row is not None
        return row["status"], row["error"]

    async def timelines(self) -> set[str]:
        """Those that rows know, which are all that there are of this project."""
        rows = await self.pool.fetch("SELECT id, state FROM timelines")
        known = {str(row["id"]) for row in rows if row["state"] in ("ready", "archived")}
        there = {
            one for one in self.computes.store.timelines()
            if self.computes.store.place(one).record().project == str(self.project.id)
        }  # fmt: skip
        assert there == known
        return known


@pytest.fixture
async def shop(pool: Pool, computes: LocalProvider, runner: Runner, project: Project) -> Shop:
    await runner.drain()
    shop = Shop(pool, computes, runner, project)
    async with shop.owner() as owner:
        await owner.execute("CREATE TABLE kept (n int)")
    await shop.write(1)
    return shop


async def test_a_branch_is_what_its_parent_was(shop: Shop) -> None:
    before = await shop.write(2)
    between = datetime.now(UTC)
    await shop.write(3)
    assert await shop.numbers(await shop.branch("head")) == [1, 2, 3]
    assert await shop.numbers(await shop.branch("lsn", at=At(lsn=before))) == [1]
    assert await shop.numbers(await shop.branch("time", at=At(timestamp=between))) == [1, 2]
    never = await shop.branch("never", at=At(lsn="F/0"))
    status, error = await shop.last()
    assert (status, "ends at" in (error or "")) == ("failed", True)
    assert await shop.pool.fetchval("SELECT state FROM branches WHERE id = $1", never) == "failed"
    # Of a sleeping parent, and of a grandchild's past before it was there.
    await shop.computes.stop_all()
    child = await shop.branch("asleep")
    assert await shop.numbers(await shop.branch("grandchild", child, at=At(lsn=before))) == [1]
    assert await shop.timelines()


@pytest.mark.parametrize(
    "at",
    [
        At(timestamp=datetime.now(UTC) + timedelta(hours=1)), At(timestamp=datetime(2020, 1, 1, tzinfo=UTC)),
    ],
)  # fmt: skip
async def test_what_never_was_is_refused(shop: Shop, at: At) -> None:
    with pytest.raises(Refusal) as refused:
        await shop.branch("never", at=at)
    assert refused.value.slug == "invalid-request"


async def test_a_reset_branch_is_what_its_parent_is(shop: Shop) -> None:
    child = await shop.branch("child")
    await shop.write(7, child)
    await shop.write(2)
    other = passwords.verifier("another")
    async with connecting.admin(shop.pool, shop.computes, shop.project.branch_id) as admin:
        await admin.execute(f"ALTER ROLE app PASSWORD '{other}'")
    (row,) = await inventory.rows_of_roles(shop.pool, shop.project.branch_id)
    sealed = passwords.seal(shop.runner.keyring, shop.project.id, row["id"], "another")
    await shop.pool.execute(
        "UPDATE database_roles SET verifier = $2, password = $3 WHERE id = $1", row["id"], other, sealed
    )
    async with shop.owner(child) as held:
        async with shop.asker() as asker:
            await asking.reset(asker, child)
        with pytest.raises(BranchNotReady):
            async with shop.asker() as asker:
                await asking.reset(asker, child)
        assert await shop.runner.drain() == 1
        # What was open is gone: it was to other data.
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await held.fetchval("SELECT 1")
    assert await shop.last() == ("finished", None)
    # The parent's password came back, and is known.
    own, parents = [
        next(iter(await inventory.rows_of_roles(shop.pool, one))) for one in (child, shop.project.branch_id)
    ]
    assert own["verifier"] == parents["verifier"]
    assert own["password"] is not None
    # It ran before, so it runs again.
    assert await shop.pool.fetchval("SELECT status FROM endpoints WHERE branch_id = $1", child) == "active"
    assert await shop.numbers(child) == [1, 2]
    await shop.pool.execute("UPDATE timelines SET created_at = now() - interval '2 minutes'")
    assert await sweeping.discard(shop.pool, shop.computes) == 1
    assert len(await shop.timelines()) == 2


async def test_a_restored_branch_keeps_what_it_had_and_can_be_restored_again(shop: Shop) -> None:
    first = await shop.write(2)
    second = await shop.write(3)
    child = await shop.branch("child")
    main = shop.project.branch_id
    async with shop.asker() as asker:
        backup, _ = await asking.restore(asker, main, main, At(lsn=second), "before")
    await shop.runner.drain()
    assert await shop.last() == ("finished", None)
    assert await shop.numbers() == [1, 2]
    rows = await shop.pool.fetch("SELECT name, parent_branch_id FROM branches")
    parents = {row["name"]: row["parent_branch_id"] for row in rows}
    assert (parents["main"], parents["child"], parents["before"]) == (backup, backup, None)
    await shop.write(9)
    async with shop.asker() as asker:
        await asking.restore(asker, main, main, At(lsn=first), "again")
    await shop.runner.drain()
    # Further back than its own beginning: by the history of what it was made of.
    assert (await shop.last(), await shop.numbers()) == (("finished", None), [1])
    async with shop.asker() as asker:
        await asking.add_endpoint(asker, backup, NewEndpoint())
    assert await shop.numbers(backup) == [1, 2, 3]
    async with shop.asker() as asker:
        await asking.restore(asker, main, backup, HEAD, "third")
    await shop.runner.drain()
    assert await shop.numbers() == [1, 2, 3]
    assert await shop.numbers(child) == [1, 2, 3]
    # A backup may go although the branch counts as its child.
    newest = await shop.pool.fetchval("SELECT id FROM branches WHERE name = 'third'")
    async with shop.asker() as asker:
        await asking.delete(asker, newest)
    await shop.runner.drain()
    assert await shop.last() == ("finished", None)
    assert await shop.numbers() == [1, 2, 3]


async def test_a_restore_that_cannot_be_leaves_everything(shop: Shop) -> None:
    main = shop.project.branch_id
    async with shop.asker() as asker:
        await asking.restore(asker, main, main, At(lsn="0/1"), "before")
    await shop.runner.drain()
    status, error = await shop.last()
    assert (status, "history is kept from" in (error or "")) == ("failed", True)
    rows = await shop.pool.fetch("SELECT name, state FROM branches WHERE deleted_at IS NULL")
    assert [tuple(row) for row in rows] == [("main", "ready")]
    await shop.write(2)
    assert await shop.numbers() == [1, 2]
    kinds = {row["type"] for row in await shop.pool.fetch("SELECT type FROM events")}
    assert "branch.failed" in kinds


@pytest.mark.parametrize(
    ("action", "broken"),
    [
        ("create", "create_timeline"),
        ("create", "stat"),
        ("empty", "create_timeline"),
        ("reset", "create_timeline"),
        ("reset", "stop"),
        ("restore", "start"),
        ("restore", "stat"),
    ],
)
async def test_a_crash_between_any_two_steps_is_resumed(
    shop: Shop, action: str, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    child = await shop.branch("child")
    await shop.write(2)
    before = await shop.write(3)
    async with shop.asker() as asker:
        if action == "reset":
            await asking.reset(asker, child)
        elif action == "restore":
            await asking.restore(asker, child, shop.project.branch_id, At(lsn=before), "kept")
        else:
            source = "schema-only" if action == "empty" else "parent-data"
            new = NewBranch(shop.project.id, "new", child, shop.project.user_id, init_source=source)  # type: ignore[arg-type]
            made = await asking.create(
                asker, shop.runner.keyring, child, new, [NewEndpoint()], HEAD, is_archived=False
            )
            child = made.branch_id
    real = getattr(LocalProvider, broken)

    async def dying(self: LocalProvider, *arguments: Any, **more: Any) -> Any:
        await real(self, *arguments, **more)
        raise Killed

    monkeypatch.setattr(LocalProvider, broken, dying)
    (one,) = await operations.lease(shop.pool, 1)
    with pytest.raises(BaseExceptionGroup):
        await shop.runner.attempt(one)
    monkeypatch.setattr(LocalProvider, broken, real)
    await shop.pool.execute("UPDATE operations SET leased_until = now()")
    assert await shop.runner.drain() == 1
    assert await shop.last() == ("finished", None)
    expected = {"reset": [1, 2, 3], "restore": [1, 2], "create": [1], "empty": []}[action]
    assert await shop.numbers(child) == expected
    await shop.pool.execute("UPDATE timelines SET created_at = now() - interval '2 minutes'")
    await shop.computes.stop_all()
    await sweeping.discard(shop.pool, shop.computes)
    await shop.timelines()


async def test_a_branch_with_the_schema_only_has_no_row_of_its_parent(shop: Shop) -> None:
    async with shop.owner() as owner:
        await owner.execute(
            "ALTER TABLE kept ADD PRIMARY KEY (n); CREATE TABLE refers (n int REFERENCES kept)"
        )
        await owner.execute(
            "INSERT INTO refers VALUES (1); CREATE MATERIALIZED VIEW seen AS SELECT * FROM kept"
        )
        await owner.execute("SELECT lo_from_bytea(0, 'secret'); ANALYZE")
    empty = await shop.branch("empty", init_source="schema-only")
    assert await shop.numbers(empty) == []
    async with connecting.admin(shop.pool, shop.computes, empty, "app") as admin:
        for table in ("public.refers", "pg_largeobject", "pg_statistic"):
            assert await admin.fetchval(f"SELECT count(*) FROM {table}") == 0
        assert not await admin.fetchval("SELECT relispopulated FROM pg_class WHERE relname = 'seen'")
    assert await shop.numbers() == [1]


async def test_a_child_of_a_protected_branch_has_other_passwords(shop: Shop, keyring: Keyring) -> None:
    await shop.pool.execute("UPDATE branches SET is_protected = true")
    child = await shop.branch("child")
    known = []
    for branch_id in (shop.project.branch_id, child):
        (row,) = await inventory.rows_of_roles(shop.pool, branch_id)
        known.append(passwords.opened(keyring, shop.project.id, row["id"], row["password"]))
    assert known[0] != known[1]
    assert await shop.numbers(child) == [1]


async def test_an_archived_branch_comes_back_with_whoever_connects(shop: Shop) -> None:
    child = await shop.branch("child")
    await shop.write(2, child)
    async with shop.asker() as asker:
        await asking.archive(asker, child, is_archived=True)
    await shop.runner.drain()
    assert await shop.pool.fetchval("SELECT count(*) FROM timelines WHERE state = 'archived'") == 1
    assert await shop.numbers(await shop.branch("of archived", child)) == [1, 2]
    assert await shop.numbers(child) == [1, 2]
    assert not await shop.pool.fetchval("SELECT is_archived FROM branches WHERE id = $1", child)
    for is_archived in (True, False):
        async with shop.asker() as asker:
            await asking.archive(asker, child, is_archived=is_archived)
        await shop.runner.drain()
        assert await shop.last() == ("finished", None)
    assert await shop.pool.fetchval("SELECT count(*) FROM timelines WHERE state = 'archived'") == 0


async def test_what_expires_goes_with_its_data(shop: Shop) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=5)
    parent = await shop.branch("parent", expires_at=soon)
    child = await shop.branch("child", parent, expires_at=soon)
    await shop.write(2, child)
    await shop.pool.execute(
        "UPDATE branches SET expires_at = now() - interval '1 second' WHERE expires_at IS NOT NULL"
    )
    # The child first: a parent is not taken from under it.
    assert [await sweeping.expire(shop.pool), await sweeping.expire(shop.pool)] == [1, 1]
    await shop.runner.drain()
    assert {row["status"] for row in await shop.pool.fetch("SELECT status FROM operations")} == {"finished"}
    assert await sweeping.expire(shop.pool) == 0
    assert len(await shop.timelines()) == 1
    assert await shop.pool.fetchval("SELECT count(*) FROM compute_runs") == 1


async def test_what_is_kept_is_measured_asleep(shop: Shop) -> None:
    await shop.computes.stop_all()
    for _, event in list(shop.computes.bulletin.kept):
        await following.note(shop.pool, event)
    await shop.pool.execute("UPDATE timelines SET measured_at = now() - interval '2 hours'")
    assert await measuring.measure(shop.pool, shop.computes) == 1
    assert await measuring.measure(shop.pool, shop.computes) == 0
    assert [await measuring.store(shop.pool), await measuring.store(shop.pool)] == [1, 0]
    assert (await shop.computes.status(str(shop.project.endpoint_id))).state == "idle"
    meters = {row["meter"] for row in await shop.pool.fetch("SELECT meter FROM meter_readings")}
    assert meters == {"storage_byte_hours", "written_bytes"}


async def test_projects_from_before_are_founded(shop: Shop, keyring: Keyring) -> None:
    await shop.pool.execute(
        "INSERT INTO projects (id, organization_id, name, slug, region, created_by) "
        "SELECT gen_random_uuid(), organization_id, 'old', 'old', region, created_by FROM projects"
    )
    assert [await founding.found_missing(shop.pool, keyring) for _ in range(2)] == [1, 0]
    assert await shop.runner.drain() == 1
