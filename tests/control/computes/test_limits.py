"""What a project may take, and what stands in the way of less."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from control.computes import disks, keeping
from control.computes.local import LocalProvider
from control.computes.opening import opened
from control.computes.provider import (
    HEAD,
    ComputeSpec,
    ComputeUnavailable,
    DiskFull,
    SlotsLeft,
    State,
    TimelineSpec,
)
from tests.control.computes.rows import SPEC, session

PROJECT = TimelineSpec("shop")
LOGICAL = ComputeSpec(is_logical=True)


async def test_logical_replication_does_not_end_before_its_slots(provider: LocalProvider) -> None:
    await provider.create_timeline("main", PROJECT)
    await provider.start("rw", "main", LOGICAL)
    connection = await provider.admin("rw")
    assert await connection.fetchval("SHOW wal_level") == "logical"
    for name in ("one", "two"):
        await connection.fetch("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", name)
    await connection.fetch("SELECT pg_create_physical_replication_slot('other', true)")
    assert await provider.slots("main") == ("one", "two")
    with pytest.raises(SlotsLeft, match="one, two") as refused:
        await provider.restart("rw", SPEC)
    assert (refused.value.status, refused.value.slots) == (409, ("one", "two"))
    # It was not stopped for nothing.
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    await provider.stop("rw")
    # Asleep as awake; and what says no leaves nothing half started.
    assert await provider.slots("main") == ("one", "two")
    with pytest.raises(SlotsLeft):
        await provider.start("rw", "main", SPEC)
    assert (await provider.status("rw")).state is State.IDLE
    await provider.start("rw", "main", LOGICAL)
    connection = await provider.admin("rw")
    await connection.execute("SELECT pg_drop_replication_slot(n) FROM unnest('{one,two}'::text[]) AS n")
    await connection.close()
    await provider.restart("rw", SPEC)
    connection = await provider.admin("rw")
    assert await connection.fetchval("SHOW wal_level") == "replica"
    await connection.close()


async def write(connection: asyncpg.Connection, megabytes: int) -> None:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS public.big (text text); "
        "ALTER TABLE public.big ALTER text SET STORAGE EXTERNAL"
    )
    await connection.execute(
        "INSERT INTO public.big SELECT repeat('x', 1000000) FROM generate_series(1, $1::int)", megabytes
    )


async def until_read_only(connection: asyncpg.Connection, wanted: str) -> None:
    """A signal is on its way to the session."""
    async with asyncio.timeout(30):
        while await connection.fetchval("SHOW default_transaction_read_only") != wanted:
            pass


async def taken(provider: LocalProvider) -> int:
    await provider.limit_disk("shop", 1 << 50)
    return disks.look(provider.store)["shop"].bytes


async def test_a_project_at_its_limit_only_reads_until_there_is_room(provider: LocalProvider) -> None:
    await provider.create_timeline("main", PROJECT)
    await provider.create_timeline("apart", TimelineSpec("bank"))
    async with session(provider, "main") as admin:
        await admin.execute(
            "CREATE ROLE owner LOGIN PASSWORD 'secret'; GRANT CREATE ON SCHEMA public TO owner"
        )
        address = await provider.start("on-main", "main", SPEC)
        owner = await asyncpg.connect(
            host=str(address.sockets), user="owner", password="secret", database="postgres"
        )
        await write(owner, 1)
        # The server writes by itself, too: a segment of its log made in advance, say.
        await provider.limit_disk("shop", await taken(provider) + 8_000_000)
        await keeping.look_at_disks(provider)
        await write(owner, 9)
        await keeping.look_at_disks(provider)
        await until_read_only(owner, "on")
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await owner.execute("INSERT INTO big VALUES ('more')")
        with pytest.raises(DiskFull) as refused:
            await provider.create_timeline("child", PROJECT, ("main", HEAD))
        assert refused.value.status == 507
        # Others are not concerned, reads go on, and who says so can delete.
        await provider.create_timeline("other", TimelineSpec("bank"), ("apart", HEAD))
        assert await owner.fetchval("SELECT count(*) FROM big") >= 3
        await owner.execute("BEGIN READ WRITE; TRUNCATE big; COMMIT")
        await provider.limit_disk("shop", await taken(provider) + 50_000_000)
        await keeping.look_at_disks(provider)
        await until_read_only(owner, "off")
        await owner.execute("INSERT INTO big VALUES ('more')")
        assert [event.kind for _, event in provider.bulletin.kept] == ["ready", "full", "roomy"]
        await owner.close()


async def test_who_goes_on_writing_is_stopped_and_starts_with_a_higher_limit(
    provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disks, "GRACE_BYTES_MIN", 1_000_000)
    monkeypatch.setattr(disks, "GRACE_SHARE", 1000)
    await provider.create_timeline("main", PROJECT)
    size = await taken(provider)
    await provider.limit_disk("shop", size)
    await provider.start("rw", "main", SPEC)
    connection = await provider.admin("rw")
    await write(connection, 3)
    await connection.close()
    await keeping.look_at_disks(provider)
    assert (await provider.status("rw")).state is State.IDLE
    with pytest.raises(DiskFull, match="choose a larger plan, or purge"):
        await provider.start("rw", "main", SPEC)
    await provider.limit_disk("shop", 2 * size)
    await keeping.look_at_disks(provider)
    await provider.start("rw", "main", SPEC)


async def test_whoever_takes_over_knows_what_servers_were_told(root: Path) -> None:
    async with opened(root, look_seconds=3600) as first:
        await first.create_timeline("main", PROJECT)
        await first.limit_disk("shop", 1)
        first.usages = {"shop": disks.Usage(2, 1)}
        await first.start("rw", "main", SPEC)
        assert first.computes["main"].is_full
    async with opened(root, look_seconds=3600) as second:
        await second.limit_disk("shop", None)
        await keeping.look_at_disks(second)
        assert not second.computes["main"].is_full
        await second.stop_all()


async def test_bytes_are_counted_while_it_is_awake(provider: LocalProvider) -> None:
    await provider.create_timeline("main", PROJECT)
    await provider.start("rw", "main", SPEC)
    await provider.start("ro", "main", ComputeSpec(is_read_only=True))
    provider.traffic("rw", 100, 7)
    provider.traffic("rw", 20)
    provider.traffic("ro", received=5)
    provider.traffic("nobody", 1, 1)
    status = await provider.status("rw")
    assert (status.sent_bytes, status.received_bytes) == (120, 7)
    await provider.stop("ro")
    await provider.stop("rw")
    assert [dict(event.moved) for _, event in provider.bulletin.kept] == [{}, {"rw": (120, 7), "ro": (0, 5)}]
    await provider.start("rw", "main", SPEC)
    assert (await provider.status("rw")).sent_bytes == 0


async def test_an_endpoint_that_is_not_there_is_refused(provider: LocalProvider) -> None:
    with pytest.raises(ComputeUnavailable):
        provider.address("nobody")
