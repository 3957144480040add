"""The replication slots of a timeline, read from its files: whether it is awake makes no difference."""

import os
import struct
from contextlib import suppress

from control.computes.files import Place

# A slot's file: magic, checksum, version, length, its name in 64 bytes, and the database that it decodes.
DATABASE = struct.Struct("=I")
DATABASE_AT = 4 * 4 + 64


def logical(place: Place) -> tuple[str, ...]:
    """Those that decode changes: a server whose log is not written for that does not start beside one."""
    if not place.data.is_dir():
        return ()
    names = sorted(entry.name for entry in os.scandir(place.data / "pg_replslot"))
    return tuple(name for name in names if database_of(place, name))


def database_of(place: Place, name: str) -> int:
    """0 for a physical slot, which has none, and for one that is just being made or dropped."""
    with suppress(OSError, struct.error):
        # The directory is the server's: what it put there is not followed elsewhere.
        path = place.data / "pg_replslot" / name / "state"
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found: int = DATABASE.unpack(os.pread(descriptor, DATABASE.size, DATABASE_AT))[0]
            return found
        finally:
            os.close(descriptor)
    return 0
