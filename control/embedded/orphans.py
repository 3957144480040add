"""What a killed supervisor left running in a directory: waited for, never raced."""

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from control.embedded.processes import StartFailed

log = logging.getLogger(__name__)

WAIT_SECONDS_MAX = 60.0
PROC = Path("/proc")


async def outlive(data: Path) -> None:
    """Return when no PostgreSQL works in ``data`` any more, and a stale pid file is gone.

    The caller holds the lock on the data directory, so whoever works there is an orphan, told to stop when
    its supervisor died. Without this a start would fail, or meet a pid file whose number is a stranger's now.
    """
    if sys.platform != "linux":
        return  # PostgreSQL checks for itself; a process number used again only makes it too strict.
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_SECONDS_MAX
    told: set[int] = set()
    while found := occupants(data):
        if not told:
            log.warning("a PostgreSQL of an earlier run is still stopping in %s", data)
        for pid in found - told:
            interrupt(pid)
        told |= found
        if loop.time() > deadline:
            numbers = ", ".join(map(str, sorted(found)))
            raise StartFailed(f"Another PostgreSQL works in {data} and does not stop: process {numbers}.")
        await asyncio.sleep(0.05)
    (data / "postmaster.pid").unlink(missing_ok=True)


def occupants(data: Path) -> set[int]:
    """The processes that work in ``data``, which are the server and all that it started."""
    place = data.stat()
    return {int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit() and works_in(entry, place)}


def works_in(process: Path, place: os.stat_result) -> bool:
    try:
        return os.path.samestat((process / "cwd").stat(), place)
    except OSError:
        # It is gone, or another user's, which could not work in a directory of ours.
        return False


def interrupt(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGINT)
