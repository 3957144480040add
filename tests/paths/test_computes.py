"""The databases of an installation outlive whatever of it is killed or replaced, and end with it."""

import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from control.computes.provider import ComputeSpec, State, TimelineSpec
from control.computes.remote import RemoteProvider
from control.embedded import postgres
from tests.paths.killing import Installation, command_line, one_connection, parents_now
from tests.waiting import until

PROJECT = TimelineSpec("shop")
SPEC = ComputeSpec()


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that other users may pass through."""
    with tempfile.TemporaryDirectory(prefix="up-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        (Path(name) / "data").mkdir(mode=0o711)
        yield Path(name) / "data"


@pytest.fixture
async def installation(directory: Path) -> AsyncIterator[Installation]:
    made = Installation(directory, {})
    made.variables["FAREBOX_NETWORKS"] = "[]"
    await made.start()
    yield made
    if made.process is not None and made.process.returncode is None:
        made.process.terminate()
        await made.process.wait()


def agents_of(installation: Installation) -> set[int]:
    assert installation.process is not None
    mine = {pid for pid, parent in parents_now().items() if parent == installation.process.pid}
    return {pid for pid in mine if b"farebox: computes" in command_line(pid)}


async def test_databases_outlive_what_is_killed_and_end_with_the_rest(installation: Installation) -> None:
    computes = installation.directory / "computes"
    provider = RemoteProvider(f"unix:{computes}/run/agent.sock")
    await provider.create_timeline("main", PROJECT)
    await provider.start("rw", "main", SPEC)
    server = int(postgres.pid_file(computes / "timelines" / "main" / "pgdata")[0])

    async def goes_on() -> None:
        status = await provider.status("rw")
        assert (status.state, status.timeline) == (State.ACTIVE, "main")
        connection = await provider.admin("rw")
        assert await connection.fetchval("SELECT pg_postmaster_start_time() IS NOT NULL")
        await connection.close()
        assert server in parents_now()

    async def says_so() -> bool:
        async with one_connection() as session, session.get(f"{installation.origin}/readyz") as response:
            # Paid calls do not depend on it, there or not.
            assert response.status == 200
            return bool((await response.json())["dependencies"]["computes"] == "ok")

    async def is_another() -> bool:
        return bool(agents_of(installation) - {agent})

    (agent,) = agents_of(installation)
    os.kill(agent, signal.SIGKILL)
    await goes_on()
    await until(says_so, 30)
    (agent,) = agents_of(installation)
    assert installation.process is not None
    installation.process.send_signal(signal.SIGHUP)
    await until(is_another, 60)
    await goes_on()
    installation.process.kill()
    await installation.process.wait()
    await installation.start()
    await goes_on()
    await until(says_so, 30)
    assert await installation.stop() == 0
    assert server not in parents_now()
    await provider.close()
