"""What is where on the disk. The directories are the truth; nothing else has to be believed after a crash."""

import asyncio
import hashlib
import json
import os
import pwd
import shutil
import signal
import stat
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path

from control.computes import copying, programs, settings
from control.computes.cgroups import Groups
from control.computes.provider import TimelineUnknown
from control.embedded import directory, orphans
from control.embedded.directory import DirectoryUnusable

# Nobody has them by convention: what the users of containers have begins at 100000. Not every container has
# the second ones.
UIDS = (range(61_100, 65_000), range(65_536, 100_000))


@dataclass(frozen=True, slots=True)
class Record:
    """``timeline.json``, from which the rows of the control database could be made again."""

    id: str
    project: str
    uid: int | None
    parent: str | None
    parent_lsn: str | None
    created_at: str
    retention_seconds: int
    begins: str | None = None
    """The LSN of its first base: while that is kept, what is before it is the parent's history."""


@dataclass(frozen=True, slots=True)
class Place:
    """One timeline's directory. Ours but for ``pgdata`` and ``wal``, which the project's user owns: root
    writes nowhere that the server could have put a link."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "pgdata"

    @property
    def wal(self) -> Path:
        """Segments that are complete; ``tail`` has the one that was not, while the timeline is archived."""
        return self.root / "wal"

    @property
    def tail(self) -> Path:
        return self.root / "tail"

    @property
    def bases(self) -> Path:
        return self.root / "base"

    @property
    def tar(self) -> Path:
        return self.root / "archive.tar.gz"

    @property
    def live_wal(self) -> Path:
        return self.tail if self.is_archived else self.data / "pg_wal"

    @property
    def is_archived(self) -> bool:
        return self.tar.exists()

    def head(self, bin_dir: Path) -> str:
        """How far it was written when it last stopped, or had its last checkpoint."""
        if self.is_archived:
            return (self.tail / "head").read_text()
        return programs.control_data(bin_dir, self.data)[0]

    def end(self, bin_dir: Path) -> str | None:
        """Where its history ends; None after a crash, when only replaying it would tell."""
        if self.is_archived:
            return self.head(bin_dir)
        location, _, state = programs.control_data(bin_dir, self.data)
        return location if state == "shut down" else None

    def record(self) -> Record:
        try:
            return Record(**json.loads((self.root / "timeline.json").read_text()))
        except FileNotFoundError:
            raise TimelineUnknown(f"there is no timeline {self.root.name}") from None

    def write(self, record: Record) -> None:
        copying.write_whole(self.root / "timeline.json", json.dumps(asdict(record), indent=1))

    def remember(self, **changes: int) -> Record:
        record = replace(self.record(), **changes)  # type: ignore[arg-type]
        self.write(record)
        return record


@dataclass(frozen=True, slots=True)
class Store:
    """The provider's directory, and where its sockets are."""

    root: Path
    sockets: Path
    programs: Path
    template: Path
    extensions: Path
    groups: Groups
    shares_blocks: bool

    def place(self, timeline: str) -> Place:
        assert timeline.replace("-", "").isalnum(), timeline
        return Place(self.root / "timelines" / timeline)

    def timelines(self) -> list[str]:
        return sorted(path.name for path in (self.root / "timelines").iterdir() if "." not in path.name)

    def begin(self, timeline: str) -> Place:
        """A directory under another name, which does not count until it is published.

        Nobody else enters it while we write: its user has other servers, and could put links there.
        """
        place = Place(self.root / "timelines" / f"{timeline}.new")
        shutil.rmtree(place.root, ignore_errors=True)
        place.root.mkdir(mode=0o700)
        place.bases.mkdir(mode=0o700)
        return place

    def open_up(self, partial: Place) -> None:
        """For the server that is to run in it."""
        partial.root.chmod(0o711)

    def publish(self, partial: Place, timeline: str) -> None:
        copying.flush(partial.root)
        partial.root.rename(self.place(timeline).root)
        copying.flush_names(self.root / "timelines")

    def discard(self, timeline: str) -> None:
        """Gone at once by its name; what a crash leaves of it is swept at the next start."""
        place = self.place(timeline)
        gone = place.root.with_name(f"{timeline}.gone")
        shutil.rmtree(gone, ignore_errors=True)
        with suppress(FileNotFoundError):
            place.root.rename(gone)
            copying.flush_names(gone.parent)
        shutil.rmtree(gone, ignore_errors=True)

    def socket_directory(self, name: str, uid: int | None) -> Path:
        return directory.private(self.sockets_of(name), uid)

    def sockets_of(self, name: str) -> Path:
        return self.sockets / hashlib.sha256(name.encode()).hexdigest()[:16]

    def beside(self, place: Place, uid: int | None) -> str:
        """How the server of a timeline names the directory that its data is in."""
        return self.way(place.root, "beside", "..", uid)

    def trusted(self, uid: int | None) -> str:
        """How servers name the directory of their extensions."""
        return self.way(self.extensions, self.extensions.name, f"../../../{self.extensions.name}", uid)

    def way(self, path: Path, name: str, from_data: str, uid: int | None) -> str:
        """``path``, or a link to it for a user who is kept out of the directories above.

        PostgreSQL takes ``..`` out of names by their letters, which would lead elsewhere behind a name that
        is a link itself; the kernel follows it as it is.
        """
        if uid is None or directory.is_traversable(path.parent, uid):
            return str(path)
        link = self.sockets / name
        with suppress(FileExistsError):
            link.symlink_to(f"/proc/self/cwd/{from_data}")
        return str(link)

    def leave(self) -> None:
        """A name in /tmp should not stay for nothing: it goes when no server is left."""
        inside = list(self.sockets.iterdir())
        if all(path.is_symlink() for path in inside):
            for path in inside:
                path.unlink(missing_ok=True)
            with suppress(OSError):
                self.sockets.rmdir()

    def uid_of(self, project: str) -> int | None:
        """A user for each project that nobody else has, kept for good; ourselves unless we are root."""
        if os.getuid() != 0:
            return None
        path = self.root / "users.json"
        users: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
        if project not in users:
            users[project] = free_uid(users.values())
            copying.write_whole(path, json.dumps(users))
        return users[project]


def free_uid(given: Collection[int]) -> int:
    taken = {entry.pw_uid for entry in pwd.getpwall()} | set(given)
    there = mapped()
    for number in chain(*UIDS):
        if number not in taken and any(number in numbers for numbers in there):
            return number
    raise DirectoryUnusable("Every user number for projects has been given away.")


def mapped() -> list[range]:
    """The numbers that there are here: in a container some are nobody's, and cannot be given anything."""
    lines = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return [range(int(first), int(first) + int(count)) for first, _, count in lines]


def operator() -> str | None:
    """The name that the kernel's word for us is looked up under, when servers run as others than us."""
    return pwd.getpwuid(0).pw_name if os.getuid() == 0 else None


def socket_root(root: Path) -> Path:
    """``run`` below the root, or a short name made of it: the same at every start, for servers outlive us."""
    own = root / "run"
    own.mkdir(mode=0o711, exist_ok=True)
    if directory.can_hold_sockets(own / "0123456789abcdef"):
        return own
    short = Path("/tmp") / f"farebox-{hashlib.sha256(os.fsencode(root)).hexdigest()[:12]}"  # noqa: S108
    short.mkdir(mode=0o711, exist_ok=True)
    status = short.lstat()
    # Anybody can make names there, so it must be ours already.
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise DirectoryUnusable(f"{short} belongs to somebody else. Remove it, or use a shorter --data-dir.")
    return short


def agent_socket(root: Path) -> Path:
    """Where the agent of a directory listens, which must be there."""
    return socket_root(root) / "agent.sock"


async def sweep(timelines: Path) -> None:
    """Remove what an earlier run did not complete, and the servers that still work in it."""
    for path in await asyncio.to_thread(lambda: list(timelines.iterdir())):
        if path.suffix in {".new", ".gone"}:
            await clear(path / "pgdata")
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        else:
            await asyncio.to_thread(tidy, Place(path))


async def clear(data: Path) -> None:
    """Kill what works there: it is a copy that nobody will have."""
    while found := await asyncio.to_thread(occupants, data):
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.02)


def occupants(data: Path) -> set[int]:
    return orphans.occupants(data) if data.is_dir() else set()


def tidy(place: Place) -> None:
    for path in (*place.root.glob("*.new"), *place.bases.glob("*.new"), *place.root.glob("*.gone")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    if place.is_archived:
        # Killed between the two steps of archiving, or of the way back: the archive is whole.
        shutil.rmtree(place.data, ignore_errors=True)
    else:
        shutil.rmtree(place.tail, ignore_errors=True)


def is_full(place: Place) -> bool:
    """Whether its server was last told to write nothing."""
    path = place.root / settings.CHANGING
    return path.exists() and path.read_text() == settings.changing(is_full=True)


def write_rules(place: Place, *, is_full: bool = False) -> None:
    """Beside the data, where its server reads them and cannot write."""
    settings.write_access_rules(place.root, operator())
    settings.write_changing(place.root, is_full=is_full)
    for name in ("pg_hba.conf", "pg_ident.conf", settings.CHANGING):
        (place.root / name).chmod(0o644)
