"""``farebox up`` on one screen: what is started, in which order, and what is said about it."""

import asyncio
import json
import logging
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from config.settings import Settings, data_home
from control import migrate
from control.embedded import directory, postgres, processes, valkey
from control.embedded.processes import Keeper, StartFailed
from control.supervisor import capacity, databases, forks, keys, ports, wires, workers
from control.supervisor.forks import Nursery
from control.supervisor.metrics import Metrics, serving
from control.supervisor.ports import Door
from gateway.kit import sql
from gateway.kit.sql import Pool

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """Which processes to run. ``farebox up`` runs all and prepares what they need, a role only its own."""

    servers: tuple[str, ...]
    """The roles of each process on the port; none for no such process."""
    has_worker: bool
    is_whole: bool
    has_proxy: bool = False
    """Whether PostgreSQL's clients are let in."""
    child: tuple[str, ...] | None = None
    """A program to start for each process, instead of forking it."""


EVERYTHING = Plan(servers=("gateway", "control"), has_worker=True, is_whole=True, has_proxy=True)
GATEWAY = Plan(servers=("gateway",), has_worker=False, is_whole=False)
CONTROL = Plan(servers=("control",), has_worker=False, is_whole=False)
WORKER = Plan(servers=(), has_worker=True, is_whole=False)
PGPROXY = Plan(servers=(), has_worker=False, is_whole=False, has_proxy=True)


@dataclass(frozen=True, slots=True)
class Start:
    """What the command line knows and the rest is told."""

    settings: Settings
    plan: Plan
    ensure_operator: Callable[[Pool], Awaitable[Sequence[str]]]
    """Returns what to tell the operator about what was made for them."""
    say: Callable[[str], None]
    """Writes a line to standard output."""
    config_file: Path | None = None


async def run(start: Start) -> None:
    """Run until SIGINT or SIGTERM, then stop everything in the opposite order."""
    task = asyncio.current_task()
    assert task is not None
    told: list[signal.Signals] = []

    def stop(number: signal.Signals) -> None:
        if not told:
            log.info("stopping on %s", number.name)
            task.cancel()
        told.append(number)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    renew = asyncio.Event()
    if sys.stdin is None or not sys.stdin.isatty():
        # In a terminal it means that the terminal is gone, and ends us as it always did.
        loop.add_signal_handler(signal.SIGHUP, renew.set)
    try:
        async with everything(start) as keepers:
            await renewing(keepers, renew)
    except asyncio.CancelledError:
        if not told:
            raise
        log.info("stopped")
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)


async def renewing(keepers: Sequence[Keeper], renew: asyncio.Event) -> None:
    """Replace the processes one after the other, each time that somebody asks for it."""
    while True:
        await renew.wait()
        renew.clear()
        log.info("replacing the processes one by one on SIGHUP")
        for keeper in keepers:
            await keeper.renew()
        log.info("all processes are new")


@asynccontextmanager
async def everything(start: Start) -> AsyncIterator[Sequence[Keeper]]:
    settings, plan = start.settings, start.plan
    async with AsyncExitStack() as stack:
        data = stack.enter_context(home(start))
        run_directory = stack.enter_context(directory.sockets(data))
        # Ports before servers: that one is taken is said at once, before a database is started for nothing.
        listen, scrape = settings.listen, settings.metrics
        port = stack.enter_context(ports.held(listen.host, listen.port)) if plan.servers else 0
        wire = stack.enter_context(wires.held(settings, is_whole=plan.is_whole)) if plan.has_proxy else {}
        metrics_socket = stack.enter_context(ports.listen_alone(scrape.host, scrape.port))
        metrics = Metrics(directory.private(run_directory / "metrics", None))

        nursery = None
        if plan.child is None and forks.is_possible():
            nursery = Nursery({"PROMETHEUS_MULTIPROC_DIR": str(metrics.directory)})
        everybodys = {
            "FAREBOX_DATA_DIR": str(data),
            "FAREBOX_LISTEN__HOST": listen.host,
            "FAREBOX_LISTEN__PORT": str(port),
            "PROMETHEUS_MULTIPROC_DIR": str(metrics.directory),
            **wire,
        }
        agent = None
        if plan.is_whole and databases.is_ours(settings):
            everybodys["FAREBOX_COMPUTES__URL"] = databases.url(data)
            agent = databases.start(*birth(start, nursery), everybodys)
        dsn, url, first = await stack.enter_async_context(
            foundations(settings, data, run_directory, metrics, nursery, agent)
        )
        await prepare_schema(start, dsn, data)
        origin = ports.origin(listen.host, port)
        own = {
            **({"FAREBOX_PUBLIC_URL": settings.public_url or origin} if plan.servers else {}),
            **everybodys,
            "FAREBOX_POSTGRES__DSN": dsn,
            "FAREBOX_REDIS__URL": url,
            "FAREBOX_SECRETS__KEYS": json.dumps(encryption_keys(settings, plan, data)),
        }
        doors = [Door(listen.host, port) for _ in range(listen.workers)] if plan.servers else []
        entrances = wires.doors(settings, wire) if wire else []
        keepers = await stack.enter_async_context(
            processes.kept(
                {
                    **children(start, own, doors, nursery),
                    **wires.starts(birth(start, nursery), own, entrances, run_directory),
                },
                metrics.count_end,
                metrics.forget,
            )
        )
        # First at the end, so that whoever comes then is refused by the kernel and does not wait for nobody.
        for door in (*doors, *entrances):
            stack.callback(door.close)
        await stack.enter_async_context(serving(metrics, metrics_socket))
        if wire and plan.servers:
            start.say(f"postgres: {wires.address(settings, wire)}")
        if "control" in plan.servers:
            start.say(f"docs: {origin}/docs")
        start.say(f"metrics: {ports.origin(scrape.host, metrics_socket.getsockname()[1])}/metrics")
        start.say(f"farebox ready: {ready(plan, origin, settings, wire)}")
        # The nursery before those that come of it: new processes are to be made of new code.
        yield [*first, *keepers]


def ready(plan: Plan, origin: str, settings: Settings, wire: Mapping[str, str]) -> str:
    if plan.servers:
        return origin
    return f"postgresql://{wires.address(settings, wire)}" if wire else "background jobs"


@contextmanager
def home(start: Start) -> Iterator[Path]:
    """The data directory. A single role keeps nothing, so any number of them run without sharing a disk."""
    if start.plan.is_whole:
        with directory.claimed(start.settings.data_dir or data_home()) as path:
            yield path
    else:
        with tempfile.TemporaryDirectory(prefix="farebox-") as name:
            yield Path(name)


@asynccontextmanager
async def foundations(
    settings: Settings,
    data: Path,
    run_directory: Path,
    metrics: Metrics,
    nursery: Nursery | None,
    agent: processes.Start | None,
) -> AsyncIterator[tuple[str, str, Sequence[Keeper]]]:
    """The URLs of the database and the cache, and who is replaced first: all started side by side."""
    starts: dict[str, processes.Start] = {}
    if nursery is not None:
        starts["nursery"] = nursery.serving
    if agent is not None:
        starts["computes"] = agent
    async with AsyncExitStack() as stack:
        if settings.postgres.dsn is None:
            wanted = capacity.database_connections(settings)
            cluster = await postgres.prepare(data, run_directory, settings.postgres.bin_dir, wanted)
            stack.enter_context(noted(run_directory / "dsn", cluster.dsn))
            starts["postgres"] = partial(postgres.serving, cluster)
            dsn = cluster.dsn
        else:
            dsn = settings.postgres.dsn.get_secret_value()
        if settings.redis.url is None:
            instance = await valkey.prepare(data, run_directory)
            starts["valkey"] = partial(valkey.serving, instance)
            url = instance.url
        else:
            url = settings.redis.url.get_secret_value()
        keepers = await stack.enter_async_context(
            # Whoever needs the agent waits for it then; a start of everything does not.
            processes.kept(starts, metrics.count_end, metrics.forget, unawaited={"computes"})
        )
        yield dsn, url, [keeper for keeper in keepers if keeper.name in {"nursery", "computes"}]


@contextmanager
def noted(note: Path, dsn: str) -> Iterator[None]:
    """Other commands, like "farebox doctor", find the server by this file while it runs."""
    note.unlink(missing_ok=True)
    note.touch(mode=0o600)
    note.write_text(dsn)
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


async def prepare_schema(start: Start, dsn: str, data: Path) -> None:
    """Whoever runs everything brings the database forward; a role alone only makes sure that it fits."""
    if not start.plan.is_whole:
        await migrate.check(dsn)
        return
    applied = await migrate.migrate(dsn)
    for name in applied:
        log.debug("applied %s", name)
    if applied:
        log.info("the database is up to date with %s, after %d migrations", applied[-1], len(applied))
    if migrate.files()[0].name in applied:
        start.say(f"first start: {made(start.settings, data)}")
    async with sql.create_pool(dsn, size_max=2) as pool:
        told = await start.ensure_operator(pool)
    # At once: the database has the key's hash only, so a failure further on must not take it along.
    for line in told:
        start.say(line)


def made(settings: Settings, data: Path) -> str:
    """Where things are kept that were not there before."""
    database = f"a database in {data}" if settings.postgres.dsn is None else "the tables in your database"
    if settings.secrets.keys:
        return f"{database}; the encryption keys are those in FAREBOX_SECRETS__KEYS"
    return f"{database}, and an encryption key in {data / keys.NAME}, of which to keep a copy elsewhere"


def encryption_keys(settings: Settings, plan: Plan, data: Path) -> Sequence[str]:
    chosen: Sequence[SecretStr] = settings.secrets.keys
    if not chosen and not plan.is_whole:
        raise StartFailed(
            "FAREBOX_SECRETS__KEYS is not set: a role that runs alone needs the keys that the others have."
        )
    try:
        return keys.find(chosen, data)
    except ValueError as error:
        raise StartFailed(f"FAREBOX_SECRETS__KEYS: {error}.") from None


def children(
    start: Start, own: Mapping[str, str], doors: Sequence[Door], nursery: Nursery | None
) -> dict[str, processes.Start]:
    plan = start.plan
    run, program, config = birth(start, nursery)
    starts: dict[str, processes.Start] = {}
    for number, door in enumerate(doors, 1):
        name = f"worker {number}"
        command = workers.command(name, (*program, *plan.servers, *config), own)
        starts[name] = partial(workers.working, command, door, run)
    if plan.has_worker:
        command = workers.command("jobs", (*program, "worker", *config), own)
        starts["jobs"] = partial(workers.working, command, None, run)
    return starts


def birth(start: Start, nursery: Nursery | None) -> tuple[workers.Run, tuple[str, ...], tuple[str, ...]]:
    """How processes are made, the program to start, and what it is told at its end."""
    config = ("--config", str(start.config_file.absolute())) if start.config_file else ()
    if nursery is not None:
        # What is forked is that program already, and is told the rest.
        return nursery.running, (), config
    return processes.running, start.plan.child or workers.CHILD, config
