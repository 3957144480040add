import asyncio
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from control.computes import cgroups, units
from control.computes.local import LocalProvider
from control.computes.provider import TimelineSpec
from control.embedded import postgres
from tests.control.computes.rows import SPEC

LIMITS = units.limits(Decimal(1))


def proc(root: Path, mounts: str, mine: str) -> Path:
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "mounts").write_text(mounts)
    (root / "proc" / "self" / "cgroup").write_text(mine)
    (root / "proc" / "7" / "task" / "7").mkdir(parents=True)
    (root / "proc" / "7" / "task" / "7" / "children").write_text("8 9 ")
    return root / "proc"


def unified(root: Path, procs: str = "") -> Path:
    """A service with a group of its own for its processes, as systemd makes it."""
    service = root / "cgroup" / "farebox.service"
    (service / "main").mkdir(parents=True)
    (service / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (service / "cgroup.procs").write_text(procs)
    return service


def test_version_2_is_used_where_the_group_above_ours_was_given_to_us(tmp_path: Path) -> None:
    service = unified(tmp_path)
    there = proc(tmp_path, f"cgroup2 {tmp_path}/cgroup cgroup2 rw 0 0\n", "0::/farebox.service/main\n")
    groups = cgroups.find(tmp_path, there)
    assert (groups.memory, groups.cpu, groups.is_unified) == (service, service, True)
    assert (service / "cgroup.subtree_control").read_text() == "+memory +cpu"
    cgroups.hold(groups, "main", 7, LIMITS, there)
    (made,) = groups.directories("main")
    assert (made / "memory.max").read_text() == str(4 << 30)
    assert (made / "cpu.weight").read_text() == "100"
    # The kernel's file takes one at a time; this one keeps the last.
    assert (made / "cgroup.procs").read_text() == "9"


def test_version_2_is_left_alone_where_others_are_in_the_group(tmp_path: Path) -> None:
    service = unified(tmp_path, procs="1\n")
    there = proc(tmp_path, f"cgroup2 {tmp_path}/cgroup cgroup2 rw 0 0\n", "0::/farebox.service/main\n")
    groups = cgroups.find(tmp_path, there)
    assert (groups.memory, groups.cpu) == (None, None)
    assert not (service / "cgroup.subtree_control").exists()
    cgroups.hold(groups, "main", 7, LIMITS, there)
    cgroups.let_go(groups, "main")
    cgroups.sweep(groups)


def test_version_1_has_a_place_for_each_controller(tmp_path: Path) -> None:
    for name in ("memory/outer", "cpu"):
        (tmp_path / name).mkdir(parents=True)
    mounts = "".join(
        f"cgroup {tmp_path}/{name} cgroup rw,relatime,{name} 0 0\n" for name in ("memory", "cpu", "pids")
    )
    there = proc(tmp_path, mounts, "4:memory:/outer\n1:cpu:/seen/from/outside\n")
    groups = cgroups.find(tmp_path, there)
    assert (groups.memory, groups.cpu) == (tmp_path / "memory" / "outer", tmp_path / "cpu")
    cgroups.hold(groups, "main", 7, LIMITS, there)
    cpu, memory = groups.directories("main")
    assert (cpu / "cpu.shares").read_text() == "1024"
    assert (memory / "memory.limit_in_bytes").read_text() == str(4 << 30)


async def until_inside(directory: Path, pid: int) -> list[int]:
    """It is put there after it was started, as that takes the kernel a while."""
    async with asyncio.timeout(20):
        while True:
            path = directory / "cgroup.procs"
            inside = [int(line) for line in path.read_text().split()] if path.exists() else []
            if pid in inside and len(inside) >= 5:
                return inside
            await asyncio.sleep(0.02)


async def test_a_server_is_in_its_group_while_it_runs(provider: LocalProvider) -> None:
    groups = provider.store.groups
    if groups.memory is None:
        pytest.skip("no groups may be made here")
    await provider.create_timeline("main", TimelineSpec("shop"))
    await provider.start("rw", "main", SPEC)
    pid = int(postgres.pid_file(provider.store.place("main").data)[0])
    connection = await provider.admin("rw")
    for directory in groups.directories("main"):
        inside = await until_inside(directory, connection.get_server_pid())
        # What it started before and what it starts afterwards.
        assert {pid, connection.get_server_pid()} <= set(inside)
        assert len(inside) >= 5
    limit = "memory.max" if groups.is_unified else "memory.limit_in_bytes"
    made = replace(groups, cpu=None).directories("main")[0]
    assert int((made / limit).read_text()) == 1 << 30
    await connection.close()
    await provider.stop("rw")
    assert not any(directory.exists() for directory in groups.directories("main"))
