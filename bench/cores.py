"""What is measured has a core of its own; the load, the upstream, the database and all else share another."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROCESSES = Path("/proc")


@dataclass(frozen=True, slots=True)
class Cores:
    tested: int
    rest: int


def split() -> Cores | None:
    """None where there are no two, or no way to stay on one."""
    if not sys.platform.startswith("linux"):
        return None
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        return None
    os.sched_setaffinity(0, {available[1]})
    return Cores(*available[:2])


@contextmanager
def starting_on(core: int | None) -> Iterator[None]:
    """Processes start on the core of who starts them."""
    if core is None:
        yield
        return
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def move(processes: Iterable[int], core: int) -> None:
    """With the threads that they have; what they start later stays with them."""
    for process in processes:
        for thread in (PROCESSES / str(process) / "task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})


def family(root: int) -> Mapping[int, str]:
    """A process and all that descend from it, and what they are called."""
    parents: dict[int, int] = {}
    for entry in PROCESSES.iterdir() if PROCESSES.is_dir() else ():
        if entry.name.isdigit() and (fields := stat(int(entry.name))):
            parents[int(entry.name)] = int(fields[1])
    found = {root}
    while more := {process for process, parent in parents.items() if parent in found} - found:
        found |= more
    return {process: title(process) for process in found}


def cpu_seconds(processes: Iterable[int]) -> float:
    """What they used so far; what a process that has ended used is lost."""
    ticks = sum(int(fields[11]) + int(fields[12]) for one in processes if (fields := stat(one)))
    return ticks / os.sysconf("SC_CLK_TCK")


def stat(process: int) -> list[str]:
    """From its state on: its name, which comes before, may have spaces."""
    try:
        return (PROCESSES / str(process) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def title(process: int) -> str:
    try:
        return (PROCESSES / str(process) / "cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""
