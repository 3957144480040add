"""Log lines of calls, straight to standard error: a call must not pay for a logging framework.

Lines are gathered for a moment and written together, whole lines and at most what a pipe takes in one piece,
so that several processes can share one.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway.kit.later import Later

FLUSH_SECONDS = 0.1
# PIPE_BUF: POSIX keeps writes up to this size together.
PIECE_BYTES_MAX = 4096
WAITING_MAX = 1000
STANDARD_ERROR = 2


class Lines:
    """The log of calls of one process. Outside an event loop each line is written at once."""

    def __init__(self, write: Callable[[bytes], object] | None = None) -> None:
        self.write = write or write_all
        self.encode = msgspec.json.Encoder().encode
        self.waiting: list[bytes] = []
        self.flushing = Later(self.flush)

    def add(self, line: Mapping[str, Any]) -> None:
        self.waiting.append(self.encode(line))
        if len(self.waiting) >= WAITING_MAX:
            self.flush()
        else:
            self.flushing.within(FLUSH_SECONDS)

    def flush(self) -> None:
        self.flushing.cancel()
        lines, self.waiting = self.waiting, []
        piece = b""
        for line in lines:
            if piece and len(piece) + len(line) + 1 > PIECE_BYTES_MAX:
                self.write(piece)
                piece = b""
            piece += line + b"\n"
        if piece:
            self.write(piece)


def write_all(piece: bytes, descriptor: int = STANDARD_ERROR) -> None:
    """Without a standard error there is nobody to tell."""
    try:
        while piece:
            piece = piece[os.write(descriptor, piece) :]
    except OSError:
        return
