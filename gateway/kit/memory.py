"""When memory that was freed goes back to the system."""

import ctypes

# By glibc's malloc.h. Other C libraries have no ``mallopt``, or one that knows none of these.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
KEPT_BYTES_MAX = 16 << 20
AT_ONCE_BYTES = 1 << 20


def keep_for_the_next() -> None:
    """A body passes in pieces of a quarter of a mebibyte, and each is freed a moment after it was made.

    glibc gives memory of that size back to the system and takes it again for the next one, which the system
    clears page by page: for an answer of a mebibyte that was an eighth of all its work. So a process keeps up
    to this much for what comes next.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES_MAX)
        mallopt(M_TOP_PAD, AT_ONCE_BYTES)
        mallopt(M_MMAP_THRESHOLD, AT_ONCE_BYTES)
