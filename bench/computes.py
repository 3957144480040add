"""How long a project's database takes to wake and to branch, beside what the same machine does without us,
and what it takes of the memory.

``python -m bench.computes [GIGABYTE-TENTHS …]`` interleaves them, and prints ratios.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import asyncpg

from control.computes import copying, keeping
from control.computes.derive import connect
from control.computes.local import LocalProvider
from control.computes.opening import opened
from control.computes.provider import HEAD, ComputeSpec, TimelineSpec
from control.embedded import binaries

PROJECT = TimelineSpec("bench")
SPEC = ComputeSpec()
ROUNDS = 9
IDLE = 40
IDLE_SECONDS = 5.0


async def wake(provider: LocalProvider) -> float:
    begin = time.perf_counter()
    address = await provider.start("rw", "main", SPEC)
    await first_query(address.sockets)
    took = time.perf_counter() - begin
    await provider.stop("rw")
    return took


async def first_query(sockets: Path) -> None:
    connection = await connect(sockets)
    await connection.fetchval("SELECT 1")
    await connection.close()


async def bare(provider: LocalProvider, home: Path) -> float:
    """``postgres -D`` with its own settings, asked until it answers."""
    begin = time.perf_counter()
    server = start_bare(provider, home)
    while True:
        try:
            await first_query(home)
            break
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.002)
    took = time.perf_counter() - begin
    server.send_signal(2)
    await asyncio.to_thread(server.wait)
    return took


def start_bare(provider: LocalProvider, home: Path) -> "subprocess.Popen[bytes]":
    uid = provider.store.place("main").record().uid
    program = str(provider.store.programs / "postgres")
    return subprocess.Popen(
        (program, "-D", home / "data", "-k", str(home), "-c", "listen_addresses="),
        user=uid, group=uid, extra_groups=None if uid is None else [], env=binaries.ENVIRONMENT, cwd=home,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def copy(source: Path, target: Path) -> float:
    begin = time.perf_counter()
    subprocess.run(("cp", "-a", "--reflink=auto", source, target), check=True)
    took = time.perf_counter() - begin
    subprocess.run(("rm", "-rf", target), check=True)
    return took


async def wakes(provider: LocalProvider, root: Path) -> None:
    home = root / "bare"
    lay_out_bare(provider, home)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(await wake(provider))
        theirs.append(await bare(provider, home))
    print(f"wake to first query: {median(ours) / median(theirs):.2f} of a bare postgres start")


def lay_out_bare(provider: LocalProvider, home: Path) -> None:
    home.mkdir()
    place = provider.store.place("main")
    subprocess.run(("cp", "-a", place.data, home / "data"), check=True)
    copying.give(home, place.record().uid)
    (home / "data" / "pg_hba.conf").write_text("local all all trust\n")


async def branches(provider: LocalProvider, tenths: int) -> None:
    if tenths:
        await provider.start("rw", "main", SPEC)
        connection = await provider.admin("rw")
        await connection.execute(
            f"CREATE TABLE public.filler_{tenths} AS SELECT g, repeat(md5(g::text), 29) AS t "
            f"FROM generate_series(1, {tenths * 100_000}) g"
        )
        await connection.close()
        await keeping.upkeep(provider)
        await provider.stop("rw")
    size = (await provider.stat("main")).bytes
    data = provider.store.place("main").data
    ours, theirs = [], []
    for number in range(3):
        begin = time.perf_counter()
        await provider.create_timeline(f"b{number}", PROJECT, ("main", HEAD))
        ours.append(time.perf_counter() - begin)
        theirs.append(await asyncio.to_thread(copy, data, provider.store.root / "copy"))
        await provider.delete_timeline(f"b{number}")
    print(f"branch of {size >> 20} MB: {median(ours) / median(theirs):.2f} of cp -a of its directory")


async def idle(provider: LocalProvider) -> None:
    """What each of many servers takes of the memory that nobody shares, a while after its last client."""
    for number in range(IDLE):
        await provider.create_timeline(f"idle{number}", TimelineSpec(f"project{number}"))
        await first_query((await provider.start(f"on{number}", f"idle{number}", SPEC)).sockets)
    await asyncio.sleep(IDLE_SECONDS)
    servers = [one.server.pid for one in provider.computes.values() if one.server is not None]
    each = sum(map(proportional, servers)) / len(servers) / 1024
    print(f"{len(servers)} idle databases: {each:.1f} MB each (PSS)")


def proportional(pid: int) -> int:
    """KiB of a server and its processes, what several share counted in parts; proc_pid_smaps_rollup(5)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    total = 0
    for one in (str(pid), *children):
        lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


async def main(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/dev/shm") as name:
        root = Path(name)
        os.chmod(root, 0o711)
        async with opened(root / "computes", look_seconds=3600) as provider:
            await provider.create_timeline("main", PROJECT)
            await wakes(provider, root)
            for tenths in sizes:
                await branches(provider, tenths)
            await idle(provider)
            await provider.stop_all()


if __name__ == "__main__":
    asyncio.run(main([int(one) for one in sys.argv[1:]] or [0, 2]))
