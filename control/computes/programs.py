"""The small programs that come with a server."""

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from control.embedded import binaries
from control.embedded.processes import StartFailed

LOCATION = re.compile(r"^Latest checkpoint location: +([0-9A-F]+/[0-9A-F]+)$", re.MULTILINE)
REDO = re.compile(r"^Latest checkpoint's REDO WAL file: +([0-9A-F]{24})$", re.MULTILINE)
STATE = re.compile(r"^Database cluster state: +(.*)$", re.MULTILINE)


def lsn_number(lsn: str) -> int:
    high, _, low = lsn.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def lsn_text(number: int) -> str:
    return f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"


def control_data(programs: Path, data: Path) -> tuple[str, str, str]:
    """The last checkpoint's LSN, the first segment that replaying from it reads, and the state, as text."""
    argv = (str(programs / "pg_controldata"), "-D", str(data))
    done = subprocess.run(argv, env=binaries.ENVIRONMENT, capture_output=True, text=True, check=False)  # noqa: S603
    location, redo, state = (pattern.search(done.stdout) for pattern in (LOCATION, REDO, STATE))
    if location is None or redo is None or state is None:
        raise StartFailed(f"{data} is not a database that can be read: {done.stderr.strip()}")
    return location[1], redo[1], state[1]


def fork_lsn(data: Path) -> str | None:
    """Where replaying ended and the new history began, by the file that says so."""
    histories = sorted((data / "pg_wal").glob("*.history"))
    if not histories:
        return None
    lines = [line.split("\t") for line in histories[-1].read_text().splitlines() if line.strip()]
    return lines[-1][1]


def utc_now() -> datetime:
    return datetime.now(UTC)
