"""What the wire proxy costs: ratios to a connection to the server's own socket, with PgBouncer beside it.

``python -m bench.pgproxy [ROUNDS [SECONDS]]``. The targets take turns, so that whatever else the machine
does slows all of them.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import asyncpg
import uvloop

from config import logging
from config.pgproxy import PgProxy
from control.computes.local import LocalProvider
from control.computes.opening import opened
from control.computes.provider import ComputeSpec, TimelineSpec
from gateway.kit.garbage import expect_little_garbage
from gateway.pgwire import computes, tls
from gateway.pgwire.computes import Endpoint
from gateway.pgwire.server import Proxy

PASSWORD = "benchmark"
ENDPOINT = Endpoint(UUID(int=1), "ep-bench", UUID(int=2), UUID(int=3))
SPEC = ComputeSpec()
CLIENTS = 8
COPY = "COPY (SELECT generate_series(1, 3000000), 'some text that is copied') TO STDOUT"


@dataclass
class Rows:
    """One endpoint and one role."""

    provider: LocalProvider
    text: str = ""

    async def find(self, label: str) -> Endpoint | None:
        return ENDPOINT if label == ENDPOINT.label else None

    async def verifier(self, endpoint: Endpoint, role: str) -> str | None:
        return self.text if role == "app" else None

    def refused(self, endpoint: Endpoint, role: str) -> None:
        return None

    async def wake(self, endpoint: Endpoint) -> computes.Address:
        found = await self.provider.start(str(endpoint.id), str(endpoint.timeline_id), SPEC)
        return computes.Address(found.sockets / ".s.PGSQL.5432")

    @asynccontextmanager
    async def session(self, endpoint: Endpoint) -> AsyncIterator[None]:
        if self.provider.serving(str(endpoint.id)) is None:
            raise computes.NotStarted("it sleeps")
        async with self.provider.session(str(endpoint.id)):
            yield

    def traffic(self, endpoint: Endpoint, received: int, sent: int) -> None:
        self.provider.traffic(str(endpoint.id))


async def serve(root: Path) -> None:
    """The proxy and the server, in a process of their own; a line on standard input puts it to sleep."""
    logging.configure("json", "warning")
    async with opened(root, look_seconds=3600) as provider, AsyncExitStack() as stack:
        rows = Rows(provider)
        await provider.create_timeline(str(ENDPOINT.timeline_id), TimelineSpec("bench"))
        address = await rows.wake(ENDPOINT)
        admin = await provider.admin(str(ENDPOINT.id))
        await admin.execute(f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'")
        await admin.execute("CREATE DATABASE app OWNER app")
        rows.text = await admin.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")
        await admin.close()
        pem, _ = tls.ensure(root, None)
        proxy = Proxy(PgProxy(drain_seconds=0), rows, tls.load(pem, pem), b"bench")
        with socket.create_server(("127.0.0.1", 0)) as listening:
            proxy.run(listening, stack)
            expect_little_garbage()
            told = {
                "port": listening.getsockname()[1], "sockets": str(address.socket.parent),
                "uid": os.stat(address.socket).st_uid, "programs": str(provider.store.programs),
            }  # fmt: skip
            print(json.dumps(told), flush=True)
            while await asyncio.to_thread(sys.stdin.readline):
                await provider.stop(str(ENDPOINT.id))
                print("asleep", flush=True)
            await stack.aclose()
        await provider.stop_all()


@dataclass
class Stage:
    process: "subprocess.Popen[str]"
    told: dict[str, Any]
    bouncer: int | None

    def targets(self) -> dict[str, str]:
        port, label = self.told["port"], ENDPOINT.label
        proxied = f"host=127.0.0.1 port={port} user=app dbname=app sslmode=disable options=endpoint={label}"
        found = {
            "socket": f"host={self.told['sockets']} user=app dbname=app",
            "proxy": proxied,
            "pooled": f"{proxied}-pooler",
        }
        if self.bouncer:
            found["pgbouncer"] = f"host=127.0.0.1 port={self.bouncer} user=app dbname=app sslmode=disable"
        return found

    def run(self, program: str, *arguments: str) -> str:
        known = {"PGPASSWORD": PASSWORD, "PATH": "/usr/bin:/bin"}
        path = str(Path(self.told["programs"]) / program)
        done = subprocess.run([path, *arguments], env=known, capture_output=True, text=True, check=True)
        return done.stdout

    def sleep(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.process.stdout.readline()


@contextmanager
def staged() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="pgbench-", dir="/dev/shm") as name:
        os.chmod(name, 0o711)
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.pgproxy", "serve", name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        bouncer, port = start_bouncer(Path(name), told)
        try:
            yield Stage(process, told, port)
        finally:
            if bouncer is not None:
                bouncer.terminate()
                bouncer.wait(10)
            process.communicate(timeout=30)


def start_bouncer(root: Path, told: dict[str, Any]) -> "tuple[subprocess.Popen[str] | None, int | None]":
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        print("pgbouncer is not installed, and left out")
        return None, None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    users, config = root / "users.txt", root / "pgbouncer.ini"
    users.write_text(f'"app" "{PASSWORD}"\n')
    config.write_text(
        f"[databases]\napp = host={told['sockets']} dbname=app\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nauth_type = scram-sha-256\nauth_file = {users}\npool_mode = transaction\n"
        "unix_socket_dir =\ndefault_pool_size = 20\nlog_connections = 0\n"
        "log_disconnections = 0\n"
    )
    for path in (users, config):
        path.chmod(0o644)
    uid = told["uid"] if os.getuid() == 0 else None
    started = subprocess.Popen([program, "-q", str(config)], user=uid, text=True, stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    if started.poll() is not None:
        print("pgbouncer did not start, and is left out")
        return None, None
    return started, port


def queries(mode: str, seconds: str) -> Callable[[Stage, str], float]:
    def measure(stage: Stage, dsn: str) -> float:
        told = stage.run("pgbench", "-n", "-S", "-M", mode, "-c", str(CLIENTS), "-T", seconds, dsn)
        line = next(line for line in told.splitlines() if line.startswith("tps"))
        return float(line.split()[2])

    return measure


def copying(stage: Stage, dsn: str) -> float:
    begin = time.perf_counter()
    stage.run("psql", "-X", "-q", "-o", "/dev/null", dsn, "-c", COPY)
    return 1 / (time.perf_counter() - begin)


async def connect(dsn: str) -> None:
    given = dict(part.split("=", 1) for part in dsn.split())
    settings = {"options": given["options"]} if "options" in given else {}
    connection = await asyncpg.connect(
        host=given["host"], port=int(given.get("port", 5432)), user="app", database="app",
        password=PASSWORD, ssl=False, server_settings=settings,
    )  # fmt: skip
    await connection.fetchval("SELECT 1")
    await connection.close()


def connecting(stage: Stage, dsn: str) -> float:
    async def several() -> float:
        times = []
        for _ in range(20):
            begin = time.perf_counter()
            await connect(dsn)
            times.append(time.perf_counter() - begin)
        return median(times)

    return 1 / asyncio.run(several())


def waking(stage: Stage) -> float:
    stage.sleep()
    begin = time.perf_counter()
    asyncio.run(connect(stage.targets()["proxy"]))
    return time.perf_counter() - begin


def main(rounds: int, seconds: str) -> None:
    measures = {
        "queries a second, prepared": queries("prepared", seconds),
        "queries a second, simple": queries("simple", seconds),
        "COPY out": copying,
        "connect and ask, awake": connecting,
    }
    with staged() as stage:
        stage.run("pgbench", "-i", "-q", "-s", "5", stage.targets()["socket"])
        for name, measure in measures.items():
            ratios: dict[str, list[float]] = {}
            for _ in range(rounds):
                found: dict[str, float] = {}
                for target, dsn in stage.targets().items():
                    # An old PgBouncer loses prepared statements between transactions.
                    with suppress(subprocess.CalledProcessError):
                        found[target] = measure(stage, dsn)
                        ratios.setdefault(target, []).append(found[target] / found["socket"])
            told = ", ".join(f"{target} {median(several):.2f}" for target, several in ratios.items())
            print(f"{name}: {told}", flush=True)
        times = sorted(waking(stage) for _ in range(9))
        print(f"connect and ask, asleep: {median(times) * 1000:.0f} ms ({times[0] * 1000:.0f} the best)")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        uvloop.run(serve(Path(sys.argv[2])))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, sys.argv[2] if len(sys.argv) > 2 else "2")
