"""Passwords: argon2id, in threads of their own, so that no paid call waits for somebody's login."""

import asyncio
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from gateway.kit.problem import Unavailable

T = TypeVar("T")

LENGTH_MIN = 10
LENGTH_MAX = 128
# Above the minimum of OWASP (19 MiB, twice), and little enough memory that a flood of logins takes none away.
HASHER = PasswordHasher(time_cost=3, memory_cost=32 * 1024, parallelism=1)
THREADS = 2
# Whoever comes when so many wait is told to come back: their connection would be gone before their turn.
WAITING_MAX = 64

THREAD_POOL = ThreadPoolExecutor(THREADS, thread_name_prefix="argon2")


class Queue:
    """How many wait for a thread, in this process."""

    length = 0


async def hashed(password: str, salt: bytes | None = None) -> str:
    """With a salt of the caller's the same password has the same hash."""
    return await in_thread(partial(HASHER.hash, normal(password), salt=salt))


async def matching(password: str, stored: Sequence[str | None]) -> int | None:
    """Return the position of the hash that this is the password of.

    For each hash that is not there another one is computed, so that a wrong password takes the same time
    whether or not there is an account.
    """
    return await in_thread(partial(first_match, normal(password), stored))


def first_match(password: str, stored: Sequence[str | None]) -> int | None:
    for position, one in enumerate(stored):
        if is_match(password, one or dummy()) and one is not None:
            return position
    return None


def is_match(password: str, stored: str) -> bool:
    try:
        return HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(stored: str) -> bool:
    """Whether it was made with parameters that are not ours any more."""
    return HASHER.check_needs_rehash(stored)


@cache
def dummy() -> str:
    return HASHER.hash("nobody has this password")


def normal(password: str) -> str:
    """The same characters from any keyboard (NIST SP 800-63B, section 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


async def in_thread(work: Callable[[], T]) -> T:
    if Queue.length >= WAITING_MAX:
        raise Unavailable("too many people sign in right now; try again in a moment")
    Queue.length += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(THREAD_POOL, work)
    finally:
        Queue.length -= 1
