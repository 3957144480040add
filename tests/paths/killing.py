"""``farebox up`` in a process of its own, killed part by part and watched until it is whole again."""

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from config.settings import environment
from control.demo import cast
from control.supervisor import ports
from tests.waiting import until

Victim: TypeAlias = Literal["worker", "jobs", "up", "postgres", "valkey", "nursery"]
VICTIMS: tuple[Victim, ...] = get_args(Victim)

# What a victim's command line has, of those that ``up`` started itself.
SIGNS: Mapping[str, bytes] = {
    "worker": b"farebox: worker",
    "jobs": b"farebox: jobs",
    "postgres": b"/postgres\0-D",
    "valkey": b"/valkey-server",
    "nursery": b"control.supervisor.nursery",
}
WORKERS = 2
COUNTS = {"worker": WORKERS, "jobs": 1, "postgres": 1, "valkey": 1, "nursery": 1}
# A machine that runs other tests at the same time; what it really took is measured and printed.
READY_SECONDS_MAX = 60
# Each worker has a queue of its own for new connections, and the kernel spreads them by chance.
PROBES = 6


@dataclass(frozen=True, slots=True)
class Killed:
    victim: Victim
    seconds: float
    """From the kill, or for ``up`` from the new start, until everything was ready again."""


class Installation:
    """One data directory, and the ``farebox up`` that works in it at the moment."""

    def __init__(self, directory: Path, network: Mapping[str, Any]) -> None:
        self.directory = directory
        self.log = directory / "up.log"
        with ports.held("127.0.0.1", 0) as port:
            # The same one after each start, as callers know it.
            self.port = port
        self.variables = {
            "FAREBOX_ALLOW_PRIVATE_UPSTREAMS": "true",
            "FAREBOX_NETWORKS": json.dumps([network]),
            "FAREBOX_METRICS__PORT": "0",
            "FAREBOX_PGPROXY__PORT": "0",
            "FAREBOX_LISTEN__WORKERS": str(WORKERS),
            "FAREBOX_LOG_LEVEL": "warning",
            "FAREBOX_FEES__PLATFORM_BASIS_POINTS": "1000",
            # What holds live by: they expire a minute after the longest call.
            "FAREBOX_UPSTREAM__TOTAL_TIMEOUT_SECONDS": "3",
            "FAREBOX_LIMITS__KEY_CALLS_PER_SECOND": "10000",
            "FAREBOX_LIMITS__KEY_BURST": "10000",
            "FAREBOX_LIMITS__ADDRESS_CALLS_PER_SECOND": "10000",
            "FAREBOX_LIMITS__ADDRESS_BURST": "10000",
        }
        self.process: Process | None = None
        self.metrics = ""
        self.missing = ""
        self.all_pids: set[int] = set()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def dsn(self) -> str:
        return (self.directory / "run" / "dsn").read_text().strip()

    async def start(self) -> None:
        kept = {name: value for name, value in environment({}).items() if not name.startswith("FAREBOX_")}
        arguments = ("up", "--port", str(self.port), "--data-dir", str(self.directory))
        with self.log.open("ab") as errors:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "control.cli.app", *arguments,
                stdout=PIPE, stderr=errors, env={**kept, **self.variables},
            )  # fmt: skip
        try:
            async with asyncio.timeout(READY_SECONDS_MAX):
                self.metrics = (await cast.ready(self.process)).metrics
        except (TimeoutError, cast.StepFailed) as error:
            error.add_note(self.log.read_text()[-4000:])
            raise

    async def stop(self) -> int:
        """End it well; nothing that it or its predecessors started may be left."""
        assert self.process is not None
        self.all_pids |= self.descendants()
        self.process.send_signal(signal.SIGTERM)
        status = await asyncio.wait_for(self.process.wait(), 40)
        await until_gone(self.all_pids, 5)
        return status

    def orphans(self) -> set[int]:
        """Whoever works in the data directory, or was started for it."""
        place = str(self.directory).encode()
        return {pid for pid in parents_now() if is_about(pid, place)}

    async def kill(self, victim: Victim, number: int, again_after: float | None = None) -> Killed:
        """Kill it, and return once everything is ready again. ``number`` chooses among several.

        With ``again_after`` its successor is killed too, so long after it was started.
        """
        before = self.descendants()
        self.all_pids |= before
        begin, wall_clock = time.monotonic(), time.time()
        if victim == "up":
            assert self.process is not None
            self.process.kill()
            await self.process.wait()
            begin, wall_clock = time.monotonic(), time.time()
            await self.start()
            await until_gone(before, READY_SECONDS_MAX)
        else:
            found = sorted(self.found(victim))
            await end(found[number % len(found)])
            if again_after is not None:
                await until(lambda: self.is_started(victim), READY_SECONDS_MAX)
                begin = time.monotonic()
                await asyncio.sleep(again_after)
                await end(max(self.found(victim)))
        # The background jobs tell that they run by having run, every few seconds.
        since = wall_clock if victim in ("jobs", "up") else 0
        try:
            await until(lambda: self.is_whole(since), READY_SECONDS_MAX)
        except TimeoutError as error:
            error.add_note(f"{victim}: {self.missing}")
            raise
        return Killed(victim, time.monotonic() - begin)

    async def is_started(self, victim: Victim) -> bool:
        return len(self.found(victim)) == COUNTS[victim]

    def found(self, victim: str) -> set[int]:
        """Of those that ``up`` started itself."""
        assert self.process is not None
        parents = parents_now()
        mine = {pid for pid, parent in parents.items() if parent == self.process.pid}
        return {pid for pid in mine if SIGNS[victim] in command_line(pid)}

    def descendants(self) -> set[int]:
        assert self.process is not None
        parents, found = parents_now(), {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return found - {self.process.pid}

    async def is_whole(self, since: float) -> bool:
        """Every process is there and serves, and the background jobs have run since."""
        running = {name: len(self.found(name)) for name in COUNTS}
        answers = await asyncio.gather(*(self.probe() for _ in range(PROBES)))
        ran_at = await self.jobs_ran_at() if since else 0
        self.missing = f"running {running}, answers {answers}, jobs ran {ran_at - since:.1f} s later"
        return running == COUNTS and set(answers) == {"ok"} and ran_at >= since

    async def probe(self) -> str:
        """Over a new connection, which any worker may get."""
        try:
            async with one_connection() as session, session.get(f"{self.origin}/readyz") as response:
                found = await response.json()
        except (ClientError, OSError, TimeoutError) as error:
            return type(error).__name__
        return "ok" if set(found["dependencies"].values()) == {"ok"} else str(found["dependencies"])

    async def jobs_ran_at(self) -> float:
        try:
            async with one_connection() as session, session.get(self.metrics) as response:
                lines = (await response.text()).splitlines()
        except (ClientError, OSError, TimeoutError):
            return 0
        name = "farebox_jobs_last_run_timestamp_seconds"
        values = [float(line.rpartition(" ")[2]) for line in lines if line.startswith(name)]
        return max(values, default=0)

    def problems_in_log(self) -> list[str]:
        """Answers of 500 and what else is a bug; that the database is away is none."""
        signs = ("call.failed", "internal-error", "never retrieved", "never awaited", "payment.lost")
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if any(sign in line for sign in signs)]


@asynccontextmanager
async def installed(directory: Path, network: Mapping[str, Any]) -> AsyncIterator[Installation]:
    installation = Installation(directory, network)
    await installation.start()
    try:
        yield installation
    finally:
        process = installation.process
        if process is not None and process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), 40)


def one_connection() -> ClientSession:
    return ClientSession(connector=TCPConnector(force_close=True), timeout=ClientTimeout(total=5))


def parents_now() -> dict[int, int]:
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(entry.parent.name)] = int(parent)
    return parents


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


async def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    await until_gone({pid}, 5)


def is_about(pid: int, place: bytes) -> bool:
    try:
        where = Path(f"/proc/{pid}/cwd").readlink()
        told = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return os.fsencode(where).startswith(place) or b"=" + place in told


async def until_gone(pids: set[int], seconds: float) -> None:
    async def are_gone() -> bool:
        return not pids & parents_now().keys()

    await until(are_gone, seconds)
