"""The processes that do the work: gateways that share the port, and the background jobs."""

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from control.embedded import processes
from control.embedded.processes import Command, Process, StartFailed
from control.supervisor.contract import LEAVING, READY
from control.supervisor.ports import Door

log = logging.getLogger(__name__)

# -P: a file called json.py in the directory that farebox is started in must not become part of it.
CHILD = (sys.executable, "-P", "-m", "control.supervisor.child")

START_SECONDS_MAX = 60.0
# Calls under way are finished, and paid for, before a process ends: 20 seconds, and a moment for closing.
DRAIN_SECONDS = 21.5

Run: TypeAlias = Callable[
    [Command, Callable[[str], None], Callable[[], None]], AbstractAsyncContextManager[Process]
]
"""How a process is made: started, or forked."""


def command(name: str, argv: Iterable[str], environment: Mapping[str, str]) -> Command:
    return Command(
        name,
        tuple(argv),
        environment,
        Path.cwd(),
        stops=((signal.SIGTERM, DRAIN_SECONDS),),
        is_ours=True,
    )


@asynccontextmanager
async def working(
    command: Command, door: Door | None = None, run: Run = processes.running
) -> AsyncIterator[Process]:
    """Start a process; entered when it says that it is ready."""
    told = asyncio.Event()
    if door is not None:
        command = replace(command, descriptors={"FAREBOX_LISTEN__DESCRIPTOR": door.open()})

    def hear(line: str) -> None:
        if line == READY:
            told.set()
        elif line == LEAVING:
            process.over.set()
        else:
            log.info("%s: %s", command.name, line)

    async with run(command, hear, told.set) as process:
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                await told.wait()
        except TimeoutError:
            raise StartFailed(
                f"The {command.name} was not ready after {START_SECONDS_MAX:.0f} seconds."
            ) from None
        if not process.is_running:
            raise StartFailed(f"The {command.name} did not start ({process.ending}); what it wrote says why.")
        try:
            yield process
        finally:
            if door is not None and process.has_failed:
                door.close()
