"""Work that a disk stands in the way of, and whether that is because it is full.

Whoever asked cannot read the log, and no project is at its limit: without a word of it they would try again
and again what only an operator mends.
"""

import errno
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from control.computes.provider import ComputeUnavailable

log = logging.getLogger(__name__)

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# As libpq's servers say it, whose messages are not translated here.
SAID = tuple(os.strerror(number) for number in NO_SPACE)
FULL = "the disk that the data is on is full: its operator has to make room"


@contextmanager
def reported(otherwise: str) -> Iterator[None]:
    """``otherwise`` is said of any other fault of the file system's."""
    try:
        yield
    except OSError as error:
        log.error("%s: %s", otherwise, error)
        raise unavailable(otherwise, [os.strerror(error.errno or 0)]) from None


def unavailable(otherwise: str, lines: Sequence[str]) -> ComputeUnavailable:
    """By what was logged."""
    is_full = any(said in line for line in lines for said in SAID)
    return ComputeUnavailable(FULL if is_full else otherwise)
