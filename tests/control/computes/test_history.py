import asyncpg
import pytest

from control.computes import bases, copying, keeping, shortage
from control.computes.local import LocalProvider
from control.computes.provider import At, ComputeUnavailable, OutsideWindow, TimelineSpec
from tests.control.computes.rows import SPEC, lsn, numbers, session
from tests.waiting import until

PROJECT = TimelineSpec("shop", retention_seconds=0)


@pytest.mark.parametrize("is_running", [True, False])
async def test_the_window_moves_on_and_what_is_in_it_stays_exact(
    provider: LocalProvider, is_running: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await provider.create_timeline("main", PROJECT)
    async with session(provider, "main") as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
        before = await lsn(connection)
        await connection.execute(
            "CREATE TABLE filler AS SELECT repeat('x', 900) FROM generate_series(1, 9000)"
        )
    if not is_running:
        await provider.stop_all()
    monkeypatch.setattr(bases, "WAL_BYTES_MAX", 1 << 20)
    monkeypatch.setattr(bases, "WAL_SHARE_MAX", 1 << 20)
    # The server archives its log in its own time.
    await until(lambda: bases.is_due(provider.store.place("main")))
    was = await provider.stat("main")
    await keeping.upkeep(provider)
    async with session(provider, "main") as connection:
        await connection.execute("INSERT INTO kept VALUES (2)")
        middle = await lsn(connection)
        await connection.execute("INSERT INTO kept VALUES (3)")
    is_ = await provider.stat("main")
    assert is_.horizon_at > was.horizon_at
    with pytest.raises(OutsideWindow, match="history is kept from"):
        await provider.create_timeline("old", PROJECT, ("main", At(lsn=before)))
    await provider.create_timeline("past", PROJECT, ("main", At(lsn=middle)))
    await provider.create_timeline("head", PROJECT, ("main", At()))
    assert await numbers(provider, "past") == [1, 2]
    assert await numbers(provider, "head") == [1, 2, 3]


async def test_a_branch_has_roles_of_its_own_and_no_slots(provider: LocalProvider) -> None:
    await provider.create_timeline("main", PROJECT)
    async with session(provider, "main") as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS n; CREATE ROLE app LOGIN PASSWORD 'one'")
        await connection.fetch("SELECT pg_create_physical_replication_slot('held', true)")
    await provider.stop_all()
    await provider.create_timeline("child", PROJECT, ("main", At()))
    async with session(provider, "child") as connection:
        assert await connection.fetchval("SELECT count(*) FROM pg_replication_slots") == 0
        await connection.execute("ALTER ROLE app PASSWORD 'two'")
    for timeline, password in (("main", "one"), ("child", "two")):
        address = await provider.start(f"on-{timeline}", timeline, SPEC)
        connection = await asyncpg.connect(
            host=str(address.sockets), user="app", password=password, database="postgres"
        )
        await connection.close()


async def test_a_full_disk_leaves_the_parent_as_it_was(
    provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    await provider.create_timeline("main", PROJECT)
    async with session(provider, "main") as connection:
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS n")
        copied = 0
        copy_bytes = copying.copy_bytes

        def full(origin: int, copy: int) -> None:
            nonlocal copied
            copied += 1
            if copied > 500:
                raise OSError(28, "No space left on device")
            copy_bytes(origin, copy)

        monkeypatch.setattr(copying, "copy_bytes", full)
        with pytest.raises(ComputeUnavailable, match="disk that the data is on is full"):
            await provider.create_timeline("child", PROJECT, ("main", At()))
        monkeypatch.undo()
        assert [path.name for path in (provider.store.root / "timelines").iterdir()] == ["main"]
        await connection.execute("INSERT INTO kept VALUES (2)")
    await provider.create_timeline("child", PROJECT, ("main", At()))
    assert await numbers(provider, "child") == [1, 2]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['FATAL:  could not extend file "base/5/1": No space left on device', "LOG:  shut down"], "is full"),
        (["FATAL:  could not write: Disk quota exceeded"], "is full"),
        (["FATAL:  could not read"], "the log says why"),
        ([], "the log says why"),
    ],
)
def test_a_server_that_has_no_room_says_so(lines: list[str], words: str) -> None:
    assert words in str(shortage.unavailable("it did not; the log says why", lines))


async def test_a_full_disk_keeps_nothing_of_an_archive(
    provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    await provider.create_timeline("main", PROJECT)
    root = provider.store.place("main").root
    before = sorted(path.name for path in root.iterdir())
    for attempt in (provider.archive, provider.unarchive):
        with monkeypatch.context() as patched:
            patched.setattr(copying, "flush", full)
            with pytest.raises(ComputeUnavailable, match="disk that the data is on is full"):
                await attempt("main")
        assert sorted(path.name for path in root.iterdir()) == before
        await attempt("main")
        before = sorted(path.name for path in root.iterdir())
