"""The provider as other processes have it: through an agent that may die."""

import asyncio
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from config.settings import environment
from control.computes.nowhere import NoProvider
from control.computes.provider import (
    HEAD,
    At,
    BeyondHistory,
    ComputeSpec,
    ComputeUnavailable,
    SlotsLeft,
    State,
    TimelineBusy,
    TimelineSpec,
    TimelineUnknown,
)
from control.computes.remote import RemoteProvider
from control.embedded import postgres
from gateway.kit.problem import Unavailable
from gateway.kit.sql import OUTAGES

PROJECT = TimelineSpec("shop")
SPEC = ComputeSpec()
TOP = Path(__file__).parents[3]
READY = "farebox ready: databases at "
# A machine that runs other tests at the same time.
SECONDS_MAX = 60


@pytest.fixture
def root(root: Path) -> Path:
    """A data directory, of which databases are a part."""
    (root / "computes").mkdir(mode=0o711)
    for path in list(root.iterdir()):
        if path.name != "computes":
            path.rename(root / "computes" / path.name)
    return root


@dataclass
class Running:
    process: asyncio.subprocess.Process
    url: str

    async def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        async with asyncio.timeout(SECONDS_MAX):
            return await self.process.wait()


@asynccontextmanager
async def agent(root: Path, **variables: str) -> AsyncIterator[Running]:
    """``farebox computes``, as somebody would start it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "control.cli.app", "computes", "--data-dir", root, cwd=TOP,
        stdout=asyncio.subprocess.PIPE, env=environment(variables),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(SECONDS_MAX):
            line = (await process.stdout.readline()).decode().strip()
        assert line.startswith(READY), line
        yield Running(process, line.removeprefix(READY))
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


@asynccontextmanager
async def client(url: str, key: str | None = None) -> AsyncIterator[RemoteProvider]:
    provider = RemoteProvider(url, key)
    try:
        yield provider
    finally:
        await provider.close()


def pid_of(root: Path, timeline: str) -> int:
    return int(postgres.pid_file(root / "computes" / "timelines" / timeline / "pgdata")[0])


def is_running(pid: int) -> bool:
    """What ended and nobody has waited for does not run: not every container's first process waits."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def mode_of(url: str) -> int:
    return stat.S_IMODE(Path(url.removeprefix("unix:")).stat().st_mode)


async def test_all_of_the_interface_goes_through(root: Path) -> None:
    async with agent(root) as running, client(running.url) as provider:
        assert mode_of(running.url) == 0o600
        assert await provider.state() == "ok"
        assert not (root / "computes" / "timelines").exists()
        made = await provider.create_timeline("main", PROJECT)
        assert (made.id, made.project, made.parent) == ("main", "shop", None)
        assert (await provider.capabilities()).past_lsn
        address = await provider.start("rw", "main", SPEC)
        assert address == await provider.start("rw", "main", SPEC)
        connection = await provider.admin("rw")
        await connection.execute("CREATE TABLE public.kept AS SELECT 1 AS n")
        child = await provider.create_timeline("child", PROJECT, ("main", HEAD))
        assert child.parent == "main"
        assert (await provider.status("rw")).state is State.ACTIVE
        await provider.set_retention("main", 3600)
        assert (await provider.restart("rw", SPEC)) == address
        await connection.close()
        await provider.stop("rw")
        assert (await provider.status("rw")).state is State.IDLE
        await provider.archive("main")
        assert (await provider.stat("main")).is_archived
        await provider.unarchive("main")
        assert not (await provider.stat("main")).is_archived
        await provider.delete_timeline("child")
        with pytest.raises(TimelineUnknown, match="no timeline child"):
            await provider.stat("child")


async def test_what_proxies_and_replication_need_goes_through(root: Path) -> None:
    async with agent(root) as running, client(running.url) as provider:
        made = await provider.create_timeline("main", PROJECT)
        await provider.start("rw", "main", SPEC)
        assert (await provider.resolve("main", At(lsn=made.head_lsn))).kind == "present"
        assert (await provider.reach("main", At(lsn="F/0"))).kind == "future"
        with pytest.raises(BeyondHistory):
            await provider.create_timeline("never", PROJECT, ("main", At(lsn="F/0")))
        await provider.limit_disk("shop", 1 << 40)
        provider.traffic("rw", 3, 4)
        provider.traffic("rw", 5)
        async with asyncio.timeout(SECONDS_MAX):
            while not (status := await provider.status("rw")).sent_bytes:  # noqa: ASYNC110 - as below
                await asyncio.sleep(0.02)
        assert (status.sent_bytes, status.received_bytes) == (8, 4)
        await provider.restart("rw", ComputeSpec(is_logical=True))
        connection = await provider.admin("rw")
        await connection.fetch("SELECT pg_create_logical_replication_slot('kept', 'pgoutput')")
        await connection.close()
        assert await provider.slots("main") == ("kept",)
        with pytest.raises(SlotsLeft) as refused:
            await provider.restart("rw", SPEC)
        assert refused.value.slots == ("kept",)


async def test_refusals_come_back_as_themselves(root: Path) -> None:
    async with agent(root) as running, client(running.url) as provider:
        await provider.create_timeline("main", PROJECT)
        await provider.create_timeline("other", PROJECT)
        await provider.start("rw", "main", SPEC)
        with pytest.raises(TimelineBusy, match="serves other data"):
            await provider.start("rw", "other", SPEC)
        with pytest.raises(TimelineBusy, match="stop it first"):
            await provider.archive("main")
        with pytest.raises(ComputeUnavailable, match="not running"):
            async with provider.session("nobody"):
                pass
        with pytest.raises(ComputeUnavailable, match="not running"):
            await provider.admin("nobody")
        # What no client of ours sends is refused and not a bug.
        for path, body in (("/endpoints/rw/start", b"{"), ("/timelines/main/resolve", b'{"lsn": "no"}')):
            answer = await provider.http.post(provider.base + path, data=body)
            assert answer.status == 400
            assert (await answer.json())["code"] == "invalid-request"


async def test_a_session_counts_until_it_or_its_client_ends(root: Path) -> None:
    short = ComputeSpec(suspend_seconds=1)
    async with agent(root) as running, client(running.url) as provider:
        await provider.create_timeline("main", PROJECT)
        await provider.start("rw", "main", short)
        events = provider.events()
        assert (await anext(events)).kind == "ready"
        async with client(running.url) as other, other.session("rw"):
            os.kill(pid_of(root, "main"), signal.SIGKILL)
            assert [(await anext(events)).kind for _ in range(2)] == ["exited", "ready"]
            # Closed without a word, as by a kill: its session is over, so that nobody needs the server.
            await other.http.close()
            await until_sessions(provider, 0)
            os.kill(pid_of(root, "main"), signal.SIGKILL)
            assert (await anext(events)).kind == "exited"
        await until_idle(provider)
        await events.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
async def test_databases_outlive_the_agent_and_clients_find_its_successor(
    root: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As long as a successor may take to come, where much else runs.
    monkeypatch.setattr("control.computes.remote.AWAY_SECONDS_MAX", SECONDS_MAX)
    async with agent(root) as first, client(first.url) as provider:
        await provider.create_timeline("main", PROJECT)
        await provider.start("rw", "main", SPEC)
        connection = await provider.admin("rw")
        pid = pid_of(root, "main")
        events = provider.events()
        before = await anext(events)
        async with provider.session("rw"):
            assert await first.end(number) == (-9 if number is signal.SIGKILL else 0)
            assert await connection.fetchval("SELECT 1") == 1
            status = asyncio.create_task(provider.status("rw"))  # noqa: TID251 - the test holds it
            async with agent(root) as second:
                assert second.url == first.url
                assert (await status).state is State.ACTIVE
                assert pid_of(root, "main") == pid
                # The session is the successor's as well: a server that somebody uses is started again.
                await until_sessions(provider, 1)
                os.kill(pid, signal.SIGKILL)
                assert [(await anext(events)).kind for _ in range(2)] == ["exited", "ready"]
                assert before.kind == "ready"
                await connection.close()


async def until_sessions(provider: RemoteProvider, number: int) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while (await provider.status("rw")).sessions != number:  # noqa: ASYNC110 - it is another process's
            await asyncio.sleep(0.02)


async def until_idle(provider: RemoteProvider) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while (await provider.status("rw")).state is not State.IDLE:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(("stay", "is_left"), [("false", False), ("true", True)])
async def test_databases_stop_with_the_agent_unless_they_are_to_stay(
    root: Path, stay: str, is_left: bool
) -> None:
    async with agent(root, FAREBOX_COMPUTES__STAY=stay) as running, client(running.url) as provider:
        await provider.create_timeline("main", PROJECT)
        await provider.start("rw", "main", SPEC)
        pid = pid_of(root, "main")
        assert await running.end(signal.SIGTERM) == 0
        assert is_running(pid) == is_left
    async with agent(root) as running:
        await running.end(signal.SIGTERM)
    assert not is_running(pid)


KEY = "a key of more than sixteen"


async def test_another_machine_reaches_it_with_a_key_and_connects_through_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    variables = {"FAREBOX_COMPUTES__LISTEN": f"127.0.0.1:{port}", "FAREBOX_COMPUTES__KEY": KEY}
    url = f"http://127.0.0.1:{port}"
    async with agent(root, **variables):
        async with client(url, "a wrong one of sixteen") as stranger:
            for refused in (stranger.status("rw"), stranger.create_timeline("main", PROJECT)):
                with pytest.raises(ComputeUnavailable, match="401"):
                    await refused
        async with client(url, KEY) as provider:
            await provider.create_timeline("main", PROJECT)
            address = await provider.start("rw", "main", SPEC)
            assert address.sockets.stat().st_mode & 0o777 == 0o700
            assert address == await provider.start("rw", "main", SPEC)
            async with provider.session("rw"):
                await until_sessions(provider, 1)
                connection = await provider.admin("rw")
                # More than any buffer on the way, in both directions.
                text = "x" * 20_000_000
                assert await connection.fetchval("SELECT $1::text", text) == text
                others = [await provider.admin("rw") for _ in range(5)]
                assert [await one.fetchval("SELECT 1") for one in others] == [1] * 5
                os.kill(pid_of(root, "main"), signal.SIGKILL)
                async with asyncio.timeout(SECONDS_MAX):
                    with pytest.raises((asyncpg.PostgresError, *OUTAGES)):
                        await ask_forever(connection)
                for one in (connection, *others):
                    one.terminate()
            left = address.sockets.parent
        assert not left.exists()


async def ask_forever(connection: asyncpg.Connection) -> None:
    """A session outlives its postmaster by a moment."""
    while True:
        await connection.fetchval("SELECT 1")


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


async def test_nobody_waits_for_an_agent_that_does_not_come(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control.computes.remote.AWAY_SECONDS_MAX", 0.2)
    async with client(f"unix:{root}/agent.sock") as provider:
        with pytest.raises(ComputeUnavailable, match="no agent"):
            await provider.status("rw")
        assert (await provider.state()).startswith("degraded")


async def test_an_installation_without_one_says_how_to_have_one() -> None:
    nowhere = NoProvider()
    for asked in (nowhere.status("rw"), nowhere.stat("main"), nowhere.start("rw", "main", SPEC)):
        with pytest.raises(Unavailable, match="start farebox computes"):
            await asked
