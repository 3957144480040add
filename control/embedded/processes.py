"""Child processes: they die with this one, and are started again when they end by themselves."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from config.settings import environment
from control.embedded import launch
from gateway.kit import tasks

log = logging.getLogger(__name__)

PAUSE_SECONDS_MIN = 0.2
PAUSE_SECONDS_MAX = 30.0
# Of one that had been ready. It serves somebody whenever it runs, so it is never away for long, however often
# it is killed.
READY_PAUSE_SECONDS_MAX = 1.0
# A process that ran this long was healthy: the next end of it begins again with the shortest pause.
HEALTHY_SECONDS = 10.0


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
    renewal: signal.Signals | None = None
    """Sent to have it end for another to take its place, where two may not run at once."""
    descriptors: Mapping[str, int] = field(default_factory=dict)
    """Files of ours that it inherits, by the variables that tell it their numbers."""
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
        self.over = asyncio.Event()
        """Set when it has ended, or when another is to take its place."""

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
        self.over.set()
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

    @property
    def has_failed(self) -> bool:
        """Whether it ended otherwise than it should."""
        return bool(self.transport.get_returncode())

    def kill(self) -> None:
        if self.is_running:
            self.transport.send_signal(signal.SIGKILL)

    def make_way(self) -> None:
        """Sets ``over``, now or when it has ended."""
        if self.command.renewal is None:
            self.over.set()
        elif self.is_running:
            self.transport.send_signal(self.command.renewal)

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
    loop, told = asyncio.get_running_loop(), command.descriptors
    _, process = await loop.subprocess_exec(
        lambda: Process(command, on_line, on_exit),
        *launcher(command),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=None if command.is_ours else asyncio.subprocess.STDOUT,
        cwd=command.cwd,
        env=environment({**command.environment, **{name: str(one) for name, one in told.items()}}),
        pass_fds=tuple(told.values()),
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
Ended = Callable[[str, int], None]


@asynccontextmanager
async def kept(
    starts: Mapping[str, Start],
    on_end: Ended,
    on_replaced: Ended = lambda name, pid: None,
    *,
    unawaited: Collection[str] = (),
) -> AsyncIterator["list[Keeper]"]:
    """Enter with all of them ready; whichever ends is started again, and when the block is left all stop.
    Those that are ``unawaited`` may still be starting.

    A start yields a process that is ready. ``StartFailed`` comes out of here only at the first start; later
    ones are retried for ever, because what a process needs may be starting again too. ``on_end`` hears the
    name and the process number of each that ended by itself, ``on_replaced`` of each that another follows.
    """
    keepers = [Keeper(name, start, on_end, on_replaced) for name, start in starts.items()]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(keeper.keep()) for keeper in keepers]
        for keeper in keepers:
            if keeper.name not in unawaited:
                await keeper.ready.wait()
        yield keepers
        for task in tasks:
            task.cancel()


class Keeper:
    """Sees to it that a process of that name runs."""

    def __init__(self, name: str, start: Start, on_end: Ended, on_replaced: Ended) -> None:
        self.name, self.start = name, start
        self.on_end, self.on_replaced = on_end, on_replaced
        self.ready = asyncio.Event()
        self.settled = asyncio.Event()
        """Set while one process runs, and no other one ends."""
        self.process: Process | None = None
        self.pause = PAUSE_SECONDS_MIN

    async def renew(self) -> None:
        """Put another in its place, which is ready before this one is told to end, where that can be."""
        if self.process is not None:
            self.settled.clear()
            self.process.make_way()
        await self.settled.wait()

    async def keep(self) -> None:
        predecessor = AsyncExitStack()
        try:
            while True:
                predecessor = await self.keep_one(predecessor)
        finally:
            await predecessor.aclose()

    async def keep_one(self, predecessor: AsyncExitStack) -> AsyncExitStack:
        """Start one, end the one before it, and return when this one is over: with it, if it runs still."""
        since = asyncio.get_running_loop().time()
        async with AsyncExitStack() as own:
            try:
                process = await own.enter_async_context(self.start())
            except StartFailed as error:
                if not self.ready.is_set():
                    raise
                log.error("%s", error)
            else:
                await self.watch(process, predecessor)
                if process.is_running:
                    self.on_replaced(self.name, process.pid)
                    return own.pop_all()
                self.pause = min(self.pause, READY_PAUSE_SECONDS_MAX)
        await self.rest(since)
        return predecessor

    async def watch(self, process: Process, predecessor: AsyncExitStack) -> None:
        if self.ready.is_set():
            log.info("%s runs again (process %d)", self.name, process.pid)
        self.process = process
        self.ready.set()
        await predecessor.aclose()
        self.settled.set()
        await process.over.wait()
        self.settled.clear()
        if process.is_running:
            log.info("%s (process %d) is to be replaced", self.name, process.pid)
        elif process.has_failed:
            log.error("%s (process %d) ended: %s", self.name, process.pid, process.ending)
            self.on_end(self.name, process.pid)
        else:
            log.info("%s (process %d) ended", self.name, process.pid)
            self.on_replaced(self.name, process.pid)

    async def rest(self, since: float) -> None:
        """Longer each time, unless the process was healthy for a while."""
        if asyncio.get_running_loop().time() - since >= HEALTHY_SECONDS:
            self.pause = PAUSE_SECONDS_MIN
        await asyncio.sleep(self.pause)
        self.pause = min(2 * self.pause, PAUSE_SECONDS_MAX)
