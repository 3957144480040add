"""``Idempotency-Key`` on operations that create something: sent again, a request has the answer it had.

The key is taken in the operation's own transaction, so there is no thing without its key and no key without
its thing. Answers are sealed, because some have a secret that is shown once. An operation that failed leaves
nothing behind and may be tried again.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import asyncpg

from control.api.access import Actor
from gateway.answers.again import KeyReused
from gateway.kit import ids
from gateway.kit.crypto import CannotOpen, Keyring, context
from gateway.kit.problem import Refusal, invalid
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)

HEADER = "Idempotency-Key"
LENGTH_MAX = 255


class RequestInProgress(Refusal):
    status, slug, title = 409, "request-in-progress", "The request is being carried out"
    headers: Mapping[str, str] = {"Retry-After": "1"}


class AnswerNotKept(Refusal):
    status, slug, title = 409, "answer-not-kept", "The request was carried out and its answer was not kept"


REFUSALS = (KeyReused, RequestInProgress, AnswerNotKept)


class Taken(Exception):
    """The key belongs to a request that came before."""


@dataclass(slots=True)
class Claim:
    """One request's key."""

    actor: Actor
    name: str
    digest: bytes
    keyring: Keyring = field(repr=False)
    id: UUID = field(default_factory=ids.new)
    is_taken: bool = False

    async def take(self, db: Db) -> None:
        """In the transaction that does the work. ``Taken`` when there is nothing left to do."""
        if self.is_taken:
            return
        try:
            await db.execute(SQL.hurry)
            claimed = await db.fetchval(
                SQL.claim, self.id, self.actor.organization_id, self.name, self.digest
            )
        except asyncpg.LockNotAvailableError:
            raise RequestInProgress("this request, under the same key, is being carried out") from None
        if claimed is None:
            raise Taken
        await db.execute(SQL.unhurry)
        self.is_taken = True

    async def store(self, db: Db, status: int, body: bytes) -> None:
        if self.is_taken:
            await db.execute(SQL.store, self.id, status, self.keyring.seal(body, self.context(self.id)))

    async def answer(self, db: Db) -> tuple[int, bytes] | None:
        """The answer of the first request under this key; None when there was none."""
        first = await db.fetchrow(SQL.find, self.actor.organization_id, self.name)
        if first is None:
            return None
        if first["digest"] != self.digest:
            raise KeyReused("this key was used for another request; use a new key")
        if first["status"] is None and not first["is_over"]:
            raise RequestInProgress("this request, under the same key, is being carried out")
        if first["status"] is None:
            raise AnswerNotKept("this request was carried out; list what there is to find what it made")
        try:
            return first["status"], self.keyring.open(first["answer"], self.context(first["id"]))
        except CannotOpen:
            raise AnswerNotKept("this request was carried out, and its answer can be read no more") from None

    def context(self, row_id: UUID) -> bytes:
        return context(self.actor.organization_id, row_id)


def digest_of(actor: Actor, method: str, path: str, body: bytes) -> bytes:
    """Of one API key: another one might not have been given the same answer."""
    parts = (actor.key_id.bytes, method.encode(), path.encode("utf-8", "surrogateescape"), body)
    return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


def read(values: list[str]) -> str | None:
    if not values:
        return None
    if len(values) > 1:
        raise invalid(f"header/{HEADER}", "was sent more than once")
    (key,) = values
    if not (0 < len(key) <= LENGTH_MAX and key.isascii() and key.isprintable()):
        raise invalid(f"header/{HEADER}", f"is not 1 to {LENGTH_MAX} printable ASCII characters")
    return key


async def prune(db: Db, kept: timedelta) -> None:
    await db.execute(SQL.prune, kept)
