"""A timeline that nobody uses, as one compressed file, and back."""

import os
import shutil
import tarfile
from pathlib import Path

from control.computes import bases, copying
from control.computes.files import Place

LEVEL = 6


def archive(place: Place, bin_dir: Path) -> None:
    """The file is whole before anything is removed; its history stays where it is."""
    if place.is_archived:
        return
    shutil.rmtree(place.tail, ignore_errors=True)
    partial = place.tar.with_name(place.tar.name + ".new")
    try:
        pack(place, bin_dir, partial)
    except BaseException:
        # What is half done may be what fills the disk.
        partial.unlink(missing_ok=True)
        shutil.rmtree(place.tail, ignore_errors=True)
        raise
    partial.rename(place.tar)
    copying.flush_names(place.root)
    remove(place.data)


def pack(place: Place, bin_dir: Path, partial: Path) -> None:
    place.tail.mkdir(mode=0o700)
    (place.tail / "head").write_text(place.head(bin_dir))
    copying.copy_named(place.data / "pg_wal", place.tail, is_history)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with (
        os.fdopen(descriptor, "wb") as file,
        tarfile.open(fileobj=file, mode="w:gz", compresslevel=LEVEL) as tar,
    ):
        tar.add(place.data, arcname="pgdata", filter=ordinary)
    copying.flush(place.root)


def is_history(name: str) -> bool:
    return bases.is_segment(name) or name.endswith(".history")


def unarchive(place: Place) -> None:
    if not place.is_archived:
        return
    shutil.rmtree(place.data, ignore_errors=True)
    partial = place.root / "unpacked.new"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        unpack(place, partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    (partial / "pgdata").rename(place.data)
    partial.rmdir()
    copying.flush_names(place.root)
    place.tar.unlink()
    copying.flush_names(place.root)
    shutil.rmtree(place.tail)


def unpack(place: Place, partial: Path) -> None:
    partial.mkdir(mode=0o700)
    with tarfile.open(place.tar) as tar:
        # Our own file, of ordinary files and directories only; the owners are the numbers in it. Set, not
        # given as an argument, which the first versions of Python 3.11 do not know.
        tar.extraction_filter = as_it_is
        tar.extractall(partial, numeric_owner=True)  # noqa: S202
    copying.flush(partial)


def as_it_is(entry: tarfile.TarInfo, _: str) -> tarfile.TarInfo:
    return entry


def ordinary(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return entry if entry.isreg() or entry.isdir() else None


def remove(path: Path) -> None:
    gone = path.with_name(path.name + ".gone")
    shutil.rmtree(gone, ignore_errors=True)
    path.rename(gone)
    shutil.rmtree(gone)
