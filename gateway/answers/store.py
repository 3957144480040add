"""Answers that were paid for, kept for a while: whoever lost one on the way asks again and pays nothing."""

import re
from collections.abc import AsyncIterator, Awaitable, Sequence
from datetime import timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID

from multidict import CIMultiDict, CIMultiDictProxy

from gateway.kit.groups import Group
from gateway.kit.sql import Pool, Statements
from gateway.kit.values import dataclass
from gateway.ledger import holds
from gateway.types import Answer, Head

SQL = Statements(__file__)
PLACE = "kept AS (SELECT)"
PARAMETER = re.compile(r"\$(\d+)")

# A batch is one message to the database, and each answer may have a megabyte.
BATCH_MAX = 16

Omitted: TypeAlias = Literal["too_large", "cut_short"]
"""Why an answer was not kept."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An upstream's answer as it will be given again. ``omitted`` says why it has no body."""

    call_id: UUID
    head: Head
    body: bytes | None
    omitted: Omitted | None
    senders: frozenset[str] | None = None
    """Who may have it; None where something else says so."""

    @property
    def answer(self) -> Answer:
        return Answer(self.head, once(self.body or b""))


class Answers:
    """The answers of one process on their way to the table. Close it before its pool."""

    def __init__(self, pool: Pool, bytes_max: int, lifetime: timedelta) -> None:
        self.pool = pool
        self.bytes_max = bytes_max
        self.lifetime = lifetime
        """No call is still being answered after this long."""
        self.group = Group(self.keep_batch, size_max=BATCH_MAX)

    def keep(self, kept: Kept) -> Awaitable[None]:
        return self.group.add(kept)

    async def keep_batch(self, batch: Sequence[Kept]) -> Sequence[None]:
        await self.pool.execute(SQL.keep, *columns(batch))
        return [None] * len(batch)

    async def find(self, call_id: UUID) -> Kept | None:
        row = await self.pool.fetchrow(SQL.find, call_id)
        if row is None:
            return None
        senders = None if row["senders"] is None else frozenset(row["senders"])
        return Kept(call_id, unpacked(row["head"]), row["body"], row["omitted"], senders)

    async def close(self) -> None:
        await self.group.close()


def keeping(statement: str, parameters: int) -> str:
    """One of so many parameters that keeps answers too, where it has a place for that: ``columns`` follow."""
    before, after = statement.split(PLACE)
    keep = PARAMETER.sub(lambda found: f"${int(found[1]) + parameters}", SQL.keep)
    return f"{before}kept AS ({keep}){after}"


def columns(batch: Sequence[Kept]) -> tuple[Sequence[Any], ...]:
    return (
        [one.call_id for one in batch],
        [packed(one.head) for one in batch],
        [one.body for one in batch],
        [one.omitted for one in batch],
        [None if one.senders is None else " ".join(sorted(one.senders)) for one in batch],
    )


async def prune(pool: Pool, kept: timedelta) -> None:
    # Keys first: a key without its answer would say that the answer was lost.
    await holds.prune_keys(pool, kept)
    await pool.execute(SQL.prune, kept)


def packed(head: Head) -> bytes:
    """The head as HTTP writes it. Bytes that are no UTF-8 arrived as surrogates and leave as they came."""
    lines = [f"{head.status} {head.reason}", *(f"{name}: {value}" for name, value in head.headers.items())]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def unpacked(text: bytes) -> Head:
    first, *lines = text.decode("utf-8", "surrogateescape").split("\r\n")
    status, _, reason = first.partition(" ")
    headers: CIMultiDict[str] = CIMultiDict()
    for line in lines:
        name, _, value = line.partition(": ")
        headers.add(name, value)
    return Head(int(status), reason, CIMultiDictProxy(headers))


async def once(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body
