"""Copies of a timeline from which its history is replayed, and how much of that is kept."""

import asyncio
import json
import re
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from control.computes import copying, programs
from control.computes.files import Place, Record, Store
from control.computes.programs import lsn_number
from control.computes.provider import At, OutsideWindow, Resolved
from gateway.kit.sql import Connection, Statements

SQL = Statements(__file__)

FIRST_WAL = re.compile(r"^START WAL LOCATION: .*\(file ([0-9A-F]{24})\)$", re.MULTILINE)

WAL_BYTES_MAX = 64 << 20
WAL_SHARE_MAX = 10


@dataclass(frozen=True, slots=True)
class Base:
    data: Path
    lsn: str
    """From here on every point can be reached."""
    first_wal: str
    at: datetime


def all_of(place: Place) -> list[Base]:
    """Oldest first."""
    return [read(path) for path in sorted(place.bases.iterdir()) if "." not in path.name]


def read(path: Path) -> Base:
    fields = json.loads((path / "base.json").read_text())
    at = datetime.fromisoformat(fields["at"])
    return Base(path / "pgdata", fields["lsn"], fields["first_wal"], at)


def newest_before(place: Place, at: At) -> Base | None:
    """The one with the least to replay."""
    reachable = [base for base in all_of(place) if is_before(base, at)]
    return reachable[-1] if reachable else None


def is_before(base: Base, at: At) -> bool:
    assert at.timestamp is None, "it was resolved"
    return at.lsn is None or lsn_number(base.lsn) <= lsn_number(at.lsn)


def parent_with(place: Place, record: Record, point: int | datetime) -> tuple[Place, int] | None:
    """Whose history has what is before the oldest base, and up to where; None where it is not kept.

    Before its own beginning a timeline's history is its parent's, up to where it left it. What it wrote
    itself and has forgotten is not to be looked for there.
    """
    if record.parent is None or record.parent_lsn is None:
        return None
    limit = lsn_number(record.parent_lsn)
    is_all_kept = all_of(place)[0].lsn == record.begins
    if isinstance(point, int):
        is_before = point <= limit
    else:
        is_before = point < datetime.fromisoformat(record.created_at)
    parent = Place(place.root.with_name(record.parent))
    return (parent, limit) if (is_all_kept or is_before) and parent.root.is_dir() else None


def reach(store: Store, timeline: str, at: At, end: str | None) -> Resolved:
    """Whether a point is in the history, by files alone. ``end`` is a server's word, if one runs."""
    place = store.place(timeline)
    place.record()
    end = end or place.end(store.programs)
    point: int | datetime = at.timestamp or lsn_number(at.lsn or "0/0")
    if isinstance(point, int) and end is not None and point > lsn_number(end):
        return Resolved("future", end, None)
    while is_after(oldest := all_of(place)[0], point):
        parent = parent_with(place, place.record(), point)
        if parent is None:
            return Resolved("past", oldest.lsn, oldest.at)
        place = parent[0]
        point = min(point, parent[1]) if isinstance(point, int) else point
    return Resolved("present", at.lsn, at.timestamp)


def is_after(base: Base, point: int | datetime) -> bool:
    return lsn_number(base.lsn) > point if isinstance(point, int) else base.at > point


def take_cold(place: Place, bin_dir: Path) -> bool:
    """Of a server that was stopped in good order; False if it was not."""
    lsn, first_wal, state = programs.control_data(bin_dir, place.data)
    if state != "shut down":
        return False
    partial = begin(place, lsn)
    copying.copy_cluster(place.data, partial / "pgdata", with_wal=True)
    publish(partial, lsn, first_wal)
    return True


async def take_hot(place: Place, connection: Connection) -> None:
    """Of a running one, which goes on. What changes under the copy is mended when WAL is replayed on it."""
    begun = await connection.fetchval(SQL.backup_start)
    partial = await asyncio.to_thread(begin, place, begun)
    await asyncio.to_thread(copying.copy_cluster, place.data, partial / "pgdata", with_wal=False)
    stopped = await connection.fetchrow(SQL.backup_stop)
    assert stopped is not None
    first_wal = FIRST_WAL.search(stopped["labelfile"])
    assert first_wal is not None
    await asyncio.to_thread(label, partial, stopped["labelfile"])
    await asyncio.to_thread(publish, partial, stopped["lsn"], first_wal[1])


def label(partial: Path, text: str) -> None:
    path = partial / "pgdata" / "backup_label"
    path.write_text(text)
    path.chmod(0o600)
    owner = path.parent.stat()
    copying.give(path, owner.st_uid)


def begin(place: Place, lsn: str) -> Path:
    partial = place.bases / f"{lsn_number(lsn):016X}.new"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o711)
    return partial


def publish(partial: Path, lsn: str, first_wal: str) -> None:
    fields = {"lsn": lsn, "first_wal": first_wal, "at": programs.utc_now().isoformat()}
    (partial / "base.json").write_text(json.dumps(fields))
    final = partial.with_name(f"{lsn_number(lsn):016X}")
    if final.exists():
        # Nothing was written since the one that is there.
        shutil.rmtree(partial)
        return
    copying.flush(partial)
    partial.rename(final)
    copying.flush_names(final.parent)


def is_due(place: Place) -> bool:
    """Whether replaying what was written since the last one would take long."""
    newest = all_of(place)[-1]
    written = sum(size_of(path) for path in segments(place.wal) if path.name >= newest.first_wal)
    return written > max(WAL_BYTES_MAX, tree_bytes(place.data) // WAL_SHARE_MAX)


def trim(place: Place, retention: timedelta) -> None:
    """Forget what is older than the window; its oldest point still needs a base before it."""
    bases = all_of(place)
    horizon = programs.utc_now() - retention
    before = [number for number, base in enumerate(bases) if base.at <= horizon]
    first = before[-1] if before else 0
    for base in bases[:first]:
        # Its file goes first: a directory without one would be taken for a base after a crash.
        gone = base.data.parent.rename(base.data.parent.with_suffix(".new"))
        shutil.rmtree(gone)
    for path in segments(place.wal):
        if path.name < bases[first].first_wal:
            path.unlink()


def segments(directory: Path) -> list[Path]:
    found = [path for path in directory.iterdir() if is_segment(path.name)] if directory.is_dir() else []
    return sorted(found)


def is_segment(name: str) -> bool:
    return len(name) == 24


def collect_wal(place: Place, first: str, target: Path, *, may_link: bool) -> None:
    """Bring all there is from ``first`` on into a copy's own directory: it then needs no other."""

    def is_live(name: str) -> bool:
        is_wanted = is_segment(name) and name >= first
        return name.endswith(".history") or (is_wanted and not (place.wal / name).exists())

    # The live ones first: one that is removed after it was listed has been archived by then.
    copying.copy_named(place.live_wal, target, is_live)
    for path in segments(place.wal):
        fresh = target / path.name
        if path.name >= first and not fresh.exists():
            if may_link:
                fresh.hardlink_to(path)
            else:
                copying.copy_file(path, fresh)


def refuse_before(place: Place) -> OutsideWindow:
    oldest = all_of(place)[0]
    return OutsideWindow(f"history is kept from {oldest.lsn}, {oldest.at.isoformat()}, on")


def tree_bytes(path: Path) -> int:
    return sum(size_of(one) for one in path.rglob("*")) if path.is_dir() else size_of(path)


def size_of(path: Path) -> int:
    """What it takes of the disk: a file with holes is smaller than it says."""
    try:
        return path.lstat().st_blocks * 512
    except FileNotFoundError:
        return 0
