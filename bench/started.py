"""Processes that run while the bench does, and what of them is asked."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

from bench import cores
from tests import anvil

START_SECONDS = 20
PAUSE_SECONDS = 0.05


class Failed(Exception):
    """What cannot be measured, and why."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What everybody who starts something needs."""

    directory: Path
    upstream: int
    upstream_process: int
    core: int | None
    """Where what is measured runs, if that can be chosen."""

    @property
    def upstream_url(self) -> str:
        return f"http://127.0.0.1:{self.upstream}"


@dataclass(frozen=True, slots=True)
class Service:
    """Something that is asked the same thing again and again."""

    name: str
    port: int
    requests: Callable[[int], Iterator[bytes]]
    """At least so many of them; what can be sent only once is made when it is needed."""
    process: int
    """All that answers is this process and its children …"""
    measured: str = ""
    """… of which those with this in their title are what is measured."""
    status: bytes = b"200"

    def cpu_seconds(self) -> tuple[float, float]:
        """Of what is measured, and of what it has beside itself."""
        family = cores.family(self.process)
        measured = {one for one, title in family.items() if self.measured in title}
        return cores.cpu_seconds(measured), cores.cpu_seconds(family.keys() - measured)


@contextmanager
def left_out(name: str) -> Iterator[None]:
    """What this machine does not have is said, and the rest is measured."""
    try:
        yield
    except (Failed, anvil.Missing) as reason:
        note(f"{name} is left out: {reason}")


def note(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr)


def always(one: bytes) -> Callable[[int], Iterator[bytes]]:
    return lambda _: repeat(one)


@asynccontextmanager
async def server(
    name: str, *more: str, port: int = 0, core: int | None = None
) -> AsyncIterator[tuple[int, int]]:
    """One of our own; its port, and its process."""
    port = port or anvil.free_port()
    command = sys.executable, "-m", "bench.servers", name, str(port), *more
    async with process(*command, port=port, core=core) as running:
        yield port, running


@asynccontextmanager
async def process(
    *command: str | Path, port: int, core: int | None = None, cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> AsyncIterator[int]:  # fmt: skip
    """Run it while the block runs; entered when it takes connections."""
    with cores.starting_on(core):
        running = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, cwd=cwd, env=variables)
    try:
        await until_listening(running, port, str(command[0]))
        yield running.pid
    finally:
        if running.returncode is None:
            running.terminate()
        await running.wait()


async def until_listening(running: Process, port: int, name: str) -> None:
    for _ in range(int(START_SECONDS / PAUSE_SECONDS)):
        if running.returncode is not None:
            raise Failed(f"{name} ended with status {running.returncode}")
        if await is_listening(port):
            return
        await asyncio.sleep(PAUSE_SECONDS)
    raise Failed(f"{name} does not listen after {START_SECONDS} s")


async def is_listening(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
