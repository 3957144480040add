"""Log lines of calls, straight to standard error: a call must not pay for a logging framework.

Lines are gathered for a moment and written together, whole lines and at most what a pipe takes in one piece,
so that several processes can share one.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from gateway.kit.later import Later
from gateway.metering.endings import Ended, texts

FLUSH_SECONDS = 0.1
# PIPE_BUF: POSIX keeps writes up to this size together.
PIECE_BYTES_MAX = 4096
WAITING_MAX = 1000
STANDARD_ERROR = 2


class Lines:
    """The log of calls of one process, as JSON."""

    def __init__(self, write: Callable[[bytes], object] | None = None) -> None:
        self.write = write or write_all
        self.waiting: list[str] = []
        self.flushing = Later(self.flush)

    def tell(self, calls: Ended) -> None:
        self.extend(texts(calls))

    def add(self, line: Mapping[str, Any]) -> None:
        self.extend([f"{msgspec.json.encode(line).decode()}\n"])

    def extend(self, lines: Iterable[str]) -> None:
        self.waiting += lines
        if len(self.waiting) >= WAITING_MAX:
            self.flush()
        elif not self.flushing.is_set:
            self.flushing.within(FLUSH_SECONDS)

    def flush(self) -> None:
        self.flushing.cancel()
        lines, self.waiting = self.waiting, []
        text = "".join(lines).encode()
        begin, size = 0, len(text)
        while begin < size:
            end = size
            if end - begin > PIECE_BYTES_MAX:
                # A line that is longer than that goes alone.
                end = text.rfind(b"\n", begin, begin + PIECE_BYTES_MAX) + 1 or text.find(b"\n", begin) + 1
            self.write(text[begin:end])
            begin = end


def write_all(piece: bytes, descriptor: int = STANDARD_ERROR) -> None:
    """Without a standard error there is nobody to tell."""
    try:
        while piece:
            piece = piece[os.write(descriptor, piece) :]
    except OSError:
        return
