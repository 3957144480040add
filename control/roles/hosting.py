"""Run projects' databases, for the processes that ask for them."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from aiohttp import web

from config.settings import Settings, data_home
from control.computes import files, opening
from control.computes.agent import Agent
from control.computes.local import LocalProvider
from control.computes.provider import ComputeUnavailable
from control.embedded.directory import DirectoryUnusable
from control.embedded.processes import StartFailed
from control.supervisor import ports
from gateway.kit import tasks

log = logging.getLogger(__name__)

# For what is being asked when we are told to end. A branch that is not made by then is made when asked again.
DRAIN_SECONDS = 2.0


def directory_of(settings: Settings) -> Path:
    return (settings.data_dir or data_home()) / "computes"


async def host(settings: Settings, *, on_ready: Callable[[Path], None]) -> None:
    """Serve until cancelled, then stop the databases, unless they are to stay.

    On SIGHUP another process is to take our place: whatever the settings say, they stay.
    """
    task = asyncio.current_task()
    assert task is not None
    told: list[bool] = []

    def leave() -> None:
        told.append(True)
        task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, leave)
    with opening.claimed(directory_of(settings)) as root:
        path = files.agent_socket(root)
        async with AsyncExitStack() as stack:
            opened = Opened(root, settings.postgres.bin_dir)
            stack.push_async_callback(opened.close)
            if opening.has_data(root):
                opened.begin()
            await stack.enter_async_context(listening(opened, closed_socket(path)))
            if settings.computes.address is not None:
                assert settings.computes.key is not None, "the settings were read so"
                key = settings.computes.key.get_secret_value()
                door = ports.listen_alone(*settings.computes.address)
                await stack.enter_async_context(listening(opened, door, key))
            on_ready(path)
            try:
                await asyncio.Event().wait()
            finally:
                opened.is_to_stop = not (told or settings.computes.stay)
                path.unlink(missing_ok=True)


class Opened:
    """The provider, opened when it is first asked for: who has no databases neither waits nor pays for it."""

    def __init__(self, root: Path, programs: Path | None) -> None:
        self.root, self.programs = root, programs
        self.stack = AsyncExitStack()
        self.crew = tasks.Crew()
        self.one_at_a_time = asyncio.Lock()
        self.provider: LocalProvider | None = None
        self.is_to_stop = False

    def begin(self) -> None:
        """Somebody's databases may run already, and want looking after."""
        self.crew.start(self.try_to_find())

    async def try_to_find(self) -> None:
        with suppress(ComputeUnavailable):
            await self.find()

    async def find(self) -> LocalProvider:
        async with self.one_at_a_time:
            if self.provider is None:
                try:
                    await tasks.finish(self.open())
                except (StartFailed, DirectoryUnusable, OSError) as error:
                    # What is wrong may be mended by whoever reads that: the next one who asks tries again.
                    log.error("projects' databases cannot be run: %s", error)
                    raise ComputeUnavailable("databases cannot be run here; the log says why") from None
            assert self.provider is not None, "opened"
            return self.provider

    async def open(self) -> None:
        self.provider = await self.stack.enter_async_context(opening.taken_over(self.root, self.programs))

    async def close(self) -> None:
        await self.crew.close()
        async with self.stack:
            if self.is_to_stop and (self.provider is not None or opening.has_data(self.root)):
                with suppress(ComputeUnavailable):
                    await (await self.find()).stop_all()


def closed_socket(path: Path) -> socket.socket:
    """For us alone, from the first moment on: whoever may connect is every database's superuser."""
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        bound.bind(str(path))
    finally:
        os.umask(before)
    return bound


@asynccontextmanager
async def listening(opened: Opened, door: socket.socket, key: str | None = None) -> AsyncIterator[None]:
    runner = web.AppRunner(
        Agent(opened.find, key).application(), access_log=None, handler_cancellation=True,
        shutdown_timeout=DRAIN_SECONDS,
    )  # fmt: skip
    await runner.setup()
    try:
        await web.SockSite(runner, door).start()
        yield
    finally:
        await runner.cleanup()
