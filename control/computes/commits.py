"""Which LSN a time is, and the other way around: to the commit, by the log itself.

A segment's file was last written at its last record, so that the files of a history tell where to look and
nobody has to note the time beside it; the records of commits there say the rest.
"""

import asyncio
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from control.computes import bases, copying
from control.computes.files import Place, Store
from control.computes.programs import lsn_number, lsn_text
from control.computes.provider import ComputeUnavailable, Resolved
from control.embedded import binaries, processes
from control.embedded.processes import Command

COMMIT = re.compile(r"lsn: ([0-9A-F]+/[0-9A-F]+), .*desc: COMMIT(?:_PREPARED \d+:)? (\S+ \S+) UTC")

# The kernel notes times by its tick, a few milliseconds behind the clock that commits are stamped by.
SLACK = timedelta(seconds=1)

SCAN_SECONDS_MAX = 120.0


@dataclass(frozen=True, slots=True)
class Commit:
    lsn: int
    at: datetime


Test: TypeAlias = Callable[[Commit], bool]


@dataclass(frozen=True, slots=True)
class Segment:
    path: Path
    lsn: int
    """Where it begins."""
    at: datetime
    """No record in it is younger."""


@dataclass(frozen=True, slots=True)
class History:
    """Segments of one timeline, under names of our own: the server may remove its own meanwhile."""

    root: Path
    uid: int | None
    segments: list[Segment]


async def at_time(store: Store, timeline: str, moment: datetime, head: str) -> Resolved:
    """The first commit after the moment: what is before it had happened by then."""
    place, limit = store.place(timeline), lsn_number(head)
    while (oldest := bases.all_of(place)[0]).at > moment:
        parent = bases.parent_with(place, place.record(), moment)
        if parent is None:
            return Resolved("past", oldest.lsn, oldest.at)
        place, limit = parent[0], min(limit, parent[1])
    async with gathered(place) as history:
        after = [one for one in history.segments if one.at >= moment - SLACK and one.lsn < limit]
        if after:
            found = await scan(store, history, after[0], lambda commit: commit.at > moment)
            if found is not None and found.lsn < limit:
                return Resolved("present", lsn_text(found.lsn), moment)
    if place.root != store.place(timeline).root:
        # It is where a child left it: nothing happened in between.
        return Resolved("present", lsn_text(limit), moment)
    return Resolved("future", head, moment)


async def at_lsn(store: Store, timeline: str, lsn: str, head: str) -> Resolved:
    """The last commit before the LSN."""
    number = min(lsn_number(lsn), lsn_number(head))
    told, place = lsn_text(number), store.place(timeline)
    while True:
        oldest = bases.all_of(place)[0]
        is_here = number >= lsn_number(oldest.lsn)
        found = await last_before(store, place, number) if is_here else None
        if found is not None:
            return Resolved("future" if lsn_number(lsn) > lsn_number(head) else "present", told, found.at)
        parent = bases.parent_with(place, place.record(), number)
        if parent is None:
            return Resolved("nodata", None, None) if is_here else Resolved("past", oldest.lsn, oldest.at)
        place, number = parent[0], min(number, parent[1])


async def last_before(store: Store, place: Place, limit: int) -> Commit | None:
    """Looked for in the segment of the LSN, then further and further back."""
    async with gathered(place) as history:
        before = [one for one in history.segments if one.lsn < limit]
        first, reach = len(before), 1
        while first > 0:
            first, reach = max(0, first - reach), 2 * reach
            last: list[Commit] = []

            def is_over(commit: Commit, last: list[Commit] = last) -> bool:
                if commit.lsn < limit:
                    last[:] = [commit]
                return commit.lsn >= limit

            await scan(store, history, before[first], is_over)
            if last:
                return last[0]
    return None


async def scan(store: Store, history: History, first: Segment, is_it: Test) -> Commit | None:
    """The first commit that passes the test, from a segment on."""
    found: list[Commit] = []
    over = asyncio.Event()

    def hear(line: str) -> None:
        match = None if found else COMMIT.search(line)
        if match is not None:
            at = datetime.fromisoformat(match[2]).replace(tzinfo=UTC)
            commit = Commit(lsn_number(match[1]), at)
            if is_it(commit):
                found.append(commit)
                over.set()

    # As the project's user: what a server wrote is not for root to read.
    argv = (
        str(store.programs / "pg_waldump"), "--path", ".", "--rmgr", "Transaction",
        "--timeline", str(int(first.path.name[:8], 16)), "--start", lsn_text(first.lsn),
    )  # fmt: skip
    command = Command("pg_waldump", argv, binaries.ENVIRONMENT | {"TZ": "UTC"}, history.root, history.uid)
    try:
        async with asyncio.timeout(SCAN_SECONDS_MAX), processes.running(command, hear, over.set):
            await over.wait()
    except TimeoutError:
        raise ComputeUnavailable("the history could not be read in time") from None
    return found[0] if found else None


@asynccontextmanager
async def gathered(place: Place) -> AsyncIterator[History]:
    # Swept at the next start, as all that has such a name.
    root = place.root / f"scan-{secrets.token_hex(4)}.new"
    try:
        yield await asyncio.to_thread(gather, place, root)
    finally:
        await asyncio.to_thread(shutil.rmtree, root, ignore_errors=True)


def gather(place: Place, root: Path) -> History:
    root.mkdir(mode=0o711)
    # The archive's last: a segment that leaves the live directory meanwhile is there.
    for directory in (place.live_wal, place.wal):
        with copying.entered(directory) as descriptor:
            for name in filter(bases.is_segment, os.listdir(descriptor)):
                with suppress(FileNotFoundError, FileExistsError):
                    os.link(name, root / name, src_dir_fd=descriptor, follow_symlinks=False)
    uid = place.record().uid
    copying.give(root, uid)
    return History(root, uid, segments_of(root))


def segments_of(root: Path) -> list[Segment]:
    """Those of its own history: before it was promoted it read its parent's, which has a lower number."""
    paths = bases.segments(root)
    own = [path for path in paths if path.name[:8] == paths[-1].name[:8]]
    return [segment(path) for path in own]


def segment(path: Path) -> Segment:
    status = path.lstat()
    number = (int(path.name[8:16], 16) << 32) + int(path.name[16:], 16) * status.st_size
    return Segment(path, number, datetime.fromtimestamp(status.st_mtime, UTC))
