"""The processes that PostgreSQL's clients connect to."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

from config.pgproxy import PgProxy
from config.settings import Settings
from control.embedded import directory, processes
from control.supervisor import ports, workers
from control.supervisor.ports import Door
from gateway.pgwire import messages

USUAL_PORT = PgProxy().port
PROBE_SECONDS = 2.0


@contextmanager
def held(settings: Settings, *, is_whole: bool) -> Iterator[Mapping[str, str]]:
    """Keep their port; yields the variables that tell everybody which it is."""
    chosen = settings.pgproxy
    # Whoever wants any free port for the one wants no usual one for the other.
    is_any = is_whole and settings.listen.port == 0 and chosen.port == USUAL_PORT
    wanted = 0 if is_any else chosen.port
    with ports.held(chosen.host, wanted) as port:
        yield {"FAREBOX_PGPROXY__HOST": chosen.host, "FAREBOX_PGPROXY__PORT": str(port)}


def address(settings: Settings, told: Mapping[str, str]) -> str:
    """As seen from this machine."""
    return ports.origin(settings.pgproxy.host, int(told["FAREBOX_PGPROXY__PORT"])).removeprefix("http://")


def doors(settings: Settings, told: Mapping[str, str]) -> Sequence[Door]:
    port = int(told["FAREBOX_PGPROXY__PORT"])
    return [Door(settings.pgproxy.host, port) for _ in range(settings.pgproxy.workers)]


def starts(
    birth: tuple[workers.Run, tuple[str, ...], tuple[str, ...]],
    own: Mapping[str, str],
    doors: Sequence[Door],
    run_directory: Path,
) -> dict[str, processes.Start]:
    run, program, config = birth
    if not doors:
        return {}
    # Where they find each other, for a request to cancel that came to the wrong one.
    private = directory.private(run_directory / "pgproxy", None)
    told = {**own, "FAREBOX_PGPROXY__CANCEL_DIR": str(private)}
    return {
        (name := f"pgproxy {number}"): partial(
            workers.working, workers.command(name, (*program, "pgproxy", *config), told), door, run
        )
        for number, door in enumerate(doors, 1)
    }


async def speaks_postgres(host: str, port: int) -> bool:
    """Whether it knows how to say if it encrypts."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(PROBE_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            with closing(writer):
                writer.write(messages.U32.pack(8) + messages.U32.pack(messages.SSL_REQUEST))
                return await reader.read(1) in (b"S", b"N")
    return False
