"""Copying a data directory: blocks are shared where possible, and what is a server's own is left out."""

import ctypes
import fcntl
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FICLONE = 0x40049409

# Of the server that runs there: a copy with its slots would hold WAL back for ever, or take a subscriber's
# place, and one with its pid file would not start.
LEFT_OUT = {"postmaster.pid", "postmaster.opts", "recovery.signal", "standby.signal"}
EMPTIED = {
    "pg_replslot", "pg_stat_tmp", "pg_notify", "pg_dynshmem", "pg_serial", "pg_snapshots", "pg_subtrans",
}  # fmt: skip


def can_share_blocks(directory: Path) -> bool:
    """Tried, not guessed by the name of the file system: mount options and kernels differ."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        source, target = Path(name) / "source", Path(name) / "target"
        source.write_bytes(bytes(4096))
        target.touch()
        with source.open("rb") as one, target.open("r+b") as other:
            return share_blocks(one.fileno(), other.fileno())


def share_blocks(source: int, target: int) -> bool:
    if sys.platform != "linux":
        return False
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError:
        return False
    return True


@contextmanager
def entered(directory: Path | str, within: int | None = None) -> Iterator[int]:
    """A descriptor of a directory that a server may write in.

    Its user could put a link in the place of any directory there, at any moment, and have us look elsewhere.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(directory, flags, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def copy_cluster(source: Path, target: Path, *, with_wal: bool) -> None:
    """Copy a data directory. A running server may delete files meanwhile, as replaying its WAL does."""
    with entered(source) as place:
        make_like(place, target)
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.name in LEFT_OUT:
                    continue
                is_emptied = entry.name in EMPTIED or (entry.name == "pg_wal" and not with_wal)
                if is_emptied:
                    with entered(entry.name, place) as inner:
                        make_like(inner, target / entry.name)
                else:
                    copy_entry(entry, place, target / entry.name)


def copy_entry(entry: os.DirEntry[str], within: int, target: Path) -> None:
    if entry.is_dir(follow_symlinks=False):
        try:
            with entered(entry.name, within) as place:
                make_like(place, target)
                with os.scandir(place) as entries:
                    for one in entries:
                        copy_entry(one, place, target / one.name)
        except FileNotFoundError:
            return  # A database that was dropped.
    # A link can be a tablespace only, which no tenant may make: one that is there is somebody's mischief.
    elif entry.is_file(follow_symlinks=False) and not entry.name.startswith("pgsql_tmp"):
        copy_file(entry.name, target, within)


def copy_named(source: Path, target: Path, is_wanted: Callable[[str], bool]) -> None:
    """Of the files in a directory those with such names."""
    with entered(source) as place:
        for name in sorted(os.listdir(place)):
            if is_wanted(name):
                copy_file(name, target / name, place)


def copy_file(source: Path | str, target: Path, within: int | None = None) -> bool:
    """False when it is gone."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        origin = os.open(source, flags, dir_fd=within)
    except FileNotFoundError:
        return False
    try:
        status = os.fstat(origin)
        if not stat.S_ISREG(status.st_mode):
            return False
        copy = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchown(copy, status.st_uid, status.st_gid)
            if status.st_size and not share_blocks(origin, copy):
                copy_bytes(origin, copy)
        finally:
            os.close(copy)
    finally:
        os.close(origin)
    return True


def copy_bytes(origin: int, copy: int) -> None:
    with open(origin, "rb", closefd=False) as reader, open(copy, "wb", closefd=False) as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)


def make_like(source: int, target: Path) -> None:
    status = os.fstat(source)
    target.mkdir(mode=0o700)
    os.chown(target, status.st_uid, status.st_gid)


def give(path: Path, uid: int | None) -> None:
    """The tree to the user that is to run a server in it: what is inside of a directory before itself, since
    whose it is may change what is there."""
    if uid is None:
        return
    for directory, directories, files in os.walk(path, topdown=False):
        for name in (*directories, *files):
            os.chown(Path(directory) / name, uid, uid, follow_symlinks=False)
    os.chown(path, uid, uid, follow_symlinks=False)


def flush(directory: Path) -> None:
    """Everything that was written below is on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if sys.platform == "linux":
            if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
                raise OSError(ctypes.get_errno(), "syncfs", str(directory))
        else:
            os.sync()
    finally:
        os.close(descriptor)


def flush_names(directory: Path) -> None:
    """The names in the directory are on the disk: what was renamed stays so."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, text: str) -> None:
    """The old text or the new one is there, whenever it is looked at and whatever is killed."""
    partial = path.with_name(path.name + ".new")
    with partial.open("w") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    flush_names(path.parent)
