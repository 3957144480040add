"""The data directory: one server at a time, and a place for sockets that every path length allows."""

import errno
import fcntl
import os
import pwd
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Users without an entry in /etc/passwd, so that root gives its rights up without making accounts.
POSTGRES_UID = 61000
VALKEY_UID = 61001

SOCKET_PATH_BYTES_MAX = 103

# Other users may pass through, which the servers that root starts have to, and see nothing.
MODE = 0o711 if os.getuid() == 0 else 0o700

# The locks of this process. The kernel's are against others only, and go when we close such a file again.
HELD: set[tuple[int, int]] = set()


class DirectoryUnusable(Exception):
    """Why the data directory cannot be used, as a sentence for the operator."""


@contextmanager
def claimed(path: Path) -> Iterator[Path]:
    """Make the directory if it is missing, and hold it for this process alone."""
    path = path.absolute()
    if is_mine(path):
        raise in_use(path, os.getpid())
    try:
        if not path.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=MODE, exist_ok=True)
        descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DirectoryUnusable(
            f"The data directory {path} cannot be used ({error.strerror}): {error.filename}. "
            "Choose another one with --data-dir."
        ) from None
    try:
        lock(descriptor, path)
        identity = identity_of(os.fstat(descriptor))
        HELD.add(identity)
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield path
        finally:
            HELD.discard(identity)
    finally:
        os.close(descriptor)


def lock(descriptor: int, path: Path) -> None:
    """Or refuse.

    A lock of the process and not of the descriptor, as ``flock`` takes: a process that is being started has
    all our descriptors until it becomes the other program, and one that was killed in that moment would leave
    its lock behind.
    """
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EAGAIN}:
            raise
        holder = os.pread(descriptor, 20, 0).decode().strip()
        raise in_use(path, holder or "unknown") from None


def in_use(path: Path, holder: object) -> DirectoryUnusable:
    return DirectoryUnusable(f"The data directory {path} is in use by another farebox (process {holder}).")


def is_mine(path: Path) -> bool:
    """Whatever its directory is called."""
    try:
        return identity_of((path / "lock").stat()) in HELD
    except OSError:
        return False


def identity_of(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


@contextmanager
def sockets(data: Path) -> Iterator[Path]:
    """A directory for Unix sockets: ``run`` in the data directory, or a short one where that will not do."""
    own = data / "run"
    if own.is_symlink():
        # Left by a server that was killed: it names the short directory used then.
        shutil.rmtree(own.resolve(), ignore_errors=True)
        own.unlink()
    own.mkdir(mode=0o711, exist_ok=True)
    if can_hold_sockets(own / "postgres"):
        yield own
        return
    shutil.rmtree(own)
    # Not the user's own directory for temporary files: its name may be long as well.
    short = Path(tempfile.mkdtemp(prefix="farebox-", dir="/tmp"))
    short.chmod(0o711)
    # The name in the data directory stays good, for whoever looks there and for the next start.
    own.symlink_to(short)
    try:
        yield short
    finally:
        shutil.rmtree(short, ignore_errors=True)
        own.unlink(missing_ok=True)


def can_hold_sockets(directory: Path) -> bool:
    """Some paths are too long, some file systems have no sockets, and some parents let nobody through."""
    longest = directory / ".s.PGSQL.5432"
    if len(os.fsencode(longest)) > SOCKET_PATH_BYTES_MAX or not is_traversable(
        directory.parent, POSTGRES_UID
    ):
        return False
    probe = directory.parent / "probe"
    probe.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as trial:
        try:
            trial.bind(str(probe))
        except OSError:
            return False
    probe.unlink()
    return True


def private(directory: Path, uid: int | None) -> Path:
    """An empty directory that only this user, or ``uid``, may enter."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    if uid is not None:
        os.chown(directory, uid, uid)
    return directory


def dropped(uid: int) -> int | None:
    """``uid`` when this process is root and must not stay it, else None: run as ourselves."""
    return uid if os.getuid() == 0 else None


def nobody() -> int:
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        raise DirectoryUnusable(
            "There is no user called nobody, which the first start as root needs to make the database. "
            "Add one, or run farebox as an ordinary user."
        ) from None


def is_traversable(path: Path, uid: int) -> bool:
    """Whether ``uid`` may pass through the directory and all above it. Only root need ask."""
    if os.getuid() != 0:
        return True
    return all(permits(one, uid, stat.S_IXOTH) for one in (path, *path.resolve().parents))


def is_runnable(program: Path, uid: int) -> bool:
    return is_traversable(program.parent, uid) and (
        os.getuid() != 0 or permits(program, uid, stat.S_IXOTH | stat.S_IROTH)
    )


def permits(path: Path, uid: int, others_bits: int) -> bool:
    status = path.stat()
    bits = others_bits << 6 if status.st_uid == uid else others_bits
    return status.st_mode & bits == bits


def address_of(directory: Path, uid: int | None) -> str:
    """How a process that runs as ``uid``, in ``directory``, names it.

    A user may be kept out of the directories above. It is started inside, so on Linux it can say "here".
    """
    if uid is None or is_traversable(directory.parent, uid):
        return str(directory)
    if sys.platform != "linux":
        raise DirectoryUnusable(
            f"{directory.parent} cannot be entered by user {uid}, which PostgreSQL runs as. "
            "Choose another directory with --data-dir."
        )
    return "/proc/self/cwd"
