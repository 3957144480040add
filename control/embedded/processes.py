"""Child processes: they die with this one, and are started again when they end by themselves."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from config.settings import environment
from control.embedded import launch
from gateway.kit import tasks

log = logging.getLogger(__name__)

PAUSE_SECONDS_MIN = 0.2
PAUSE_SECONDS_MAX = 30.0
# A process that ran this long was healthy: the next end of it begins again with the shortest pause.
HEALTHY_SECONDS = 60.0


class StartFailed(Exception):
    """A process could not be started; the text is a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    """What it gets, and all that it gets unless it ``is_ours``."""
    cwd: Path
    uid: int | None = None
    """The user and group to run as; only root may name one."""
    death_signal: signal.Signals = signal.SIGKILL
    """Sent to it when this process dies, however that happens."""
    stops: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGTERM, 5.0),)
    """How to end it: signals, each with the seconds it is given. SIGKILL follows the last."""
    is_ours: bool = False
    """A part of farebox: it has our environment too, and logs as we do, on our standard error. What others
    write there goes to ``on_line``."""


class Process(asyncio.SubprocessProtocol):
    """A running command. What it writes goes to ``on_line`` as it comes."""

    def __init__(self, command: Command, on_line: Callable[[str], None], on_exit: Callable[[], None]) -> None:
        self.command = command
        self.on_line = on_line
        self.on_exit = on_exit
        self.partial = b""
        self.exited = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.SubprocessTransport, transport)
        self.pid = self.transport.get_pid()

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        assert isinstance(data, bytes)
        *lines, self.partial = (self.partial + data).split(b"\n")
        for line in lines:
            self.on_line(line.decode(errors="replace"))

    def process_exited(self) -> None:
        self.exited.set()
        self.on_exit()

    @property
    def is_running(self) -> bool:
        return self.transport.get_returncode() is None

    @property
    def ending(self) -> str:
        """How it ended: ``status 1`` or ``SIGKILL``."""
        code = self.transport.get_returncode()
        assert code is not None
        return f"status {code}" if code >= 0 else signal.Signals(-code).name

    async def stop(self) -> None:
        for number, seconds in (*self.command.stops, (signal.SIGKILL, 10.0)):
            if not self.is_running:
                break
            self.transport.send_signal(number)
            try:
                async with asyncio.timeout(seconds):
                    await self.exited.wait()
            except TimeoutError:
                log.warning("%s (process %d) did not end on %s", self.command.name, self.pid, number.name)
        self.transport.close()


@asynccontextmanager
async def running(
    command: Command, on_line: Callable[[str], None], on_exit: Callable[[], None] = lambda: None
) -> AsyncIterator[Process]:
    """Run it until the block is left, on whatever way.

    Enter it in the main thread only: Linux sends the death signal when the thread that started it ends.
    """
    loop = asyncio.get_running_loop()
    _, process = await loop.subprocess_exec(
        lambda: Process(command, on_line, on_exit),
        *launcher(command),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=None if command.is_ours else asyncio.subprocess.STDOUT,
        cwd=command.cwd,
        env=environment(command.environment),
        # A Ctrl-C in the terminal reaches every process of the session; only we are to act on it.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        await tasks.finish(process.stop())


def launcher(command: Command) -> tuple[str, ...]:
    return (
        sys.executable,
        "-I",
        "-S",
        launch.__file__,
        str(int(command.death_signal)),
        str(os.getpid()),
        str(command.uid or 0),
        "*" if command.is_ours else ",".join(command.environment),
        *command.argv,
    )


Start = Callable[[], AbstractAsyncContextManager[Process]]


@asynccontextmanager
async def kept(starts: Mapping[str, Start], on_end: Callable[[str, int], None]) -> AsyncIterator[None]:
    """Enter with all of them ready; whichever ends is started again, and when the block is left all stop.

    A start yields a process that is ready. ``StartFailed`` comes out of here only at the first start; later
    ones are retried for ever, because what a process needs may be starting again too. ``on_end`` hears the
    name and the process number of each that ended by itself.
    """
    async with asyncio.TaskGroup() as group:
        readies = {name: asyncio.Event() for name in starts}
        keepers = [group.create_task(keep(name, starts[name], on_end, readies[name])) for name in starts]
        for ready in readies.values():
            await ready.wait()
        yield
        for keeper in keepers:
            keeper.cancel()


async def keep(name: str, start: Start, on_end: Callable[[str, int], None], ready: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    pause = PAUSE_SECONDS_MIN
    while True:
        since = loop.time()
        try:
            async with start() as process:
                since = loop.time()
                if ready.is_set():
                    log.info("%s runs again (process %d)", name, process.pid)
                ready.set()
                await process.exited.wait()
            log.error("%s (process %d) ended: %s", name, process.pid, process.ending)
            on_end(name, process.pid)
        except StartFailed as error:
            if not ready.is_set():
                raise
            log.error("%s", error)
        if loop.time() - since >= HEALTHY_SECONDS:
            pause = PAUSE_SECONDS_MIN
        await asyncio.sleep(pause)
        pause = min(2 * pause, PAUSE_SECONDS_MAX)
