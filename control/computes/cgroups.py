"""How much memory a server's processes may take together, and its share of a busy machine's processors.

Below the group that we are in, so that whatever limits us limits them too. In version 2 a group with groups
below it can have no processes of its own: there it is the one above ours, which systemd makes for a service
with ``Delegate=yes`` and ``DelegateSubgroup=``. Where none may be made, there are the limits of each process.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from control.computes.units import Limits

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Groups:
    """Where groups are made, by controller: one place for both in version 2. Empty where none may be."""

    memory: Path | None
    cpu: Path | None
    prefix: str
    is_unified: bool

    def directories(self, name: str) -> list[Path]:
        places = {place for place in (self.memory, self.cpu) if place is not None}
        return [place / f"{self.prefix}{name}" for place in sorted(places)]


def find(root: Path, proc: Path = PROC) -> Groups:
    """Tried, not guessed: who is root in a container often may not."""
    prefix = f"farebox-{hashlib.sha256(os.fsencode(root)).hexdigest()[:8]}-"
    mounts = list(mounted(proc))
    paths = dict(mine(proc))
    for directory, kind, _ in mounts:
        place = below(directory, paths.get("", "/")).parent
        if kind == "cgroup2" and is_delegated(place, directory, prefix):
            return Groups(place, place, prefix, is_unified=True)
    found = {
        controller: place
        for directory, kind, options in mounts
        for controller in ("memory", "cpu")
        if kind == "cgroup" and controller in options
        if can_make(place := below(directory, paths.get(controller, "/")), prefix)
    }
    return Groups(found.get("memory"), found.get("cpu"), prefix, is_unified=False)


def mounted(proc: Path) -> Iterator[tuple[Path, str, list[str]]]:
    with suppress(OSError):
        for line in (proc / "self" / "mounts").read_text().splitlines():
            _, directory, kind, options, *_ = line.split(" ")
            yield Path(directory), kind, options.split(",")


def mine(proc: Path) -> Iterator[tuple[str, str]]:
    with suppress(OSError):
        for line in (proc / "self" / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            for controller in controllers.split(","):
                yield controller, path


def below(directory: Path, path: str) -> Path:
    """A container may see its own group as the top."""
    place = directory / path.lstrip("/")
    return place if place.is_dir() else directory


def is_delegated(place: Path, top: Path, prefix: str) -> bool:
    try:
        there = (place / "cgroup.controllers").read_text().split()
        is_empty = not (place / "cgroup.procs").read_text().strip()
        if place in top.parents or not is_empty or not {"memory", "cpu"} <= set(there):
            return False
        (place / "cgroup.subtree_control").write_text("+memory +cpu")
    except OSError:
        return False
    return can_make(place, prefix)


def can_make(place: Path, prefix: str) -> bool:
    trial = place / f"{prefix}trial"
    try:
        trial.mkdir(exist_ok=True)
        trial.rmdir()
    except OSError:
        return False
    return True


def hold(groups: Groups, name: str, server: int, limits: Limits, proc: Path = PROC) -> None:
    """Put a server and what it started into a group. What it starts from then on is there by itself."""
    for directory in groups.directories(name):
        # A server that ended meanwhile, or a controller that is taken from us: the others' limits stand.
        with suppress(OSError):
            directory.mkdir(exist_ok=True)
            for file, value in settings(groups, directory.parent, limits):
                (directory / file).write_text(value)
            enter(directory, server, proc)


def settings(groups: Groups, place: Path, limits: Limits) -> Iterator[tuple[str, str]]:
    if groups.is_unified:
        yield "memory.max", str(limits.memory_bytes)
        yield "cpu.weight", str(max(1, limits.cpu_shares * 100 // 1024))
    else:
        if place == groups.memory:
            yield "memory.limit_in_bytes", str(limits.memory_bytes)
        if place == groups.cpu:
            yield "cpu.shares", str(limits.cpu_shares)


def enter(directory: Path, server: int, proc: Path) -> None:
    """The server first; then what it had started by then."""
    put(directory, server)
    children = proc / str(server) / "task" / str(server) / "children"
    for number in children.read_text().split():
        put(directory, int(number))


def put(directory: Path, number: int) -> None:
    with suppress(ProcessLookupError):
        (directory / "cgroup.procs").write_text(str(number))


def let_go(groups: Groups, name: str) -> None:
    for directory in groups.directories(name):
        # Of one that has processes still, the next start takes care.
        with suppress(OSError):
            directory.rmdir()


def sweep(groups: Groups) -> None:
    """Those without processes, of servers that ended when nobody looked."""
    for place in {place for place in (groups.memory, groups.cpu) if place is not None}:
        for directory in place.glob(f"{groups.prefix}*"):
            with suppress(OSError):
                directory.rmdir()
