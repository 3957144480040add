"""What is published, in memory: a call finds its route and its key here and asks the database for neither.

Changes arrive by NOTIFY; because connection poolers swallow it, the version is polled as well. Between the
two, a new price or a revoked key is known to every process within a second.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from gateway import published
from gateway.auth_mode import AuthMode
from gateway.key_uses import KeyUses
from gateway.kit.crypto import Keyring
from gateway.kit.pools import ACQUIRE_SECONDS
from gateway.kit.sql import Db, Pool, Statements
from gateway.kit.tasks import Crew
from gateway.types import Asset, Caller, Route

SQL = Statements(__file__)
CHANNEL = "farebox_changes"
POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 5
KEYS_MAX = 100_000

log = structlog.get_logger(__name__)


class Snapshot:
    def __init__(
        self,
        pool: Pool,
        dsn: str,
        assets: Mapping[UUID, Asset],
        modes: Mapping[str, AuthMode[Any]],
        keyring: Keyring,
        uses: KeyUses | None = None,
    ) -> None:
        self.pool, self.dsn = pool, dsn
        self.assets, self.modes, self.keyring = assets, modes, keyring
        self.uses = uses or KeyUses()
        self.routes: dict[str, Route] = {}
        self.slugs: dict[UUID, str] = {}
        self.keys: dict[bytes, Caller] = {}
        self.version = 0
        self.keys_changed = 0
        self.edition = 0
        """Another one whenever a route or a key that was in memory may not be true any more."""
        self.crew = Crew()
        self.stirred = asyncio.Event()

    async def start(self) -> None:
        """Load everything published, then follow changes."""
        # The version first: what changes while the rows are read is read again.
        self.version = await version(self.pool)
        await self.load(None)
        self.crew.start(self.listen_forever())
        self.crew.start(self.follow_forever())

    async def close(self) -> None:
        await self.crew.close()

    def route(self, slug: str) -> Route | None:
        return self.routes.get(slug)

    def is_known(self, fingerprint: bytes) -> bool:
        """Whether ``caller`` can answer without the database."""
        return fingerprint in self.keys

    async def caller(self, fingerprint: bytes) -> Caller | None:
        """Whose key this is; None when it is unknown, revoked or expired, or may not spend."""
        known = self.keys.get(fingerprint)
        if known is None:
            known = await self.load_key(fingerprint)
        if known is None or (known.expires_at is not None and known.expires_at <= datetime.now(UTC)):
            return None
        if known.key_id is not None:
            self.uses.note(known.key_id)
        return known

    async def load_key(self, fingerprint: bytes) -> Caller | None:
        changed = self.keys_changed
        row = await self.pool.fetchrow(SQL.key, fingerprint)
        if row is None:
            return None
        known = Caller(
            row["organization_id"],
            row["id"],
            row["mode"],
            row["is_capped"],
            row["user_id"],
            blocked_until=row["blocked_until"],
            expires_at=row["expires_at"],
        )
        # Kept only if no key changed meanwhile: this one may have been revoked after it was read.
        if changed == self.keys_changed:
            if len(self.keys) >= KEYS_MAX:
                self.keys.pop(next(iter(self.keys)))
            self.keys[fingerprint] = known
        return known

    async def load(self, publisher_id: UUID | None) -> None:
        """Read one publisher again, or all of them."""
        rows = await self.pool.fetch(SQL.publishers, publisher_id)
        self.edition += 1
        gone = self.slugs.keys() if publisher_id is None else {publisher_id}
        for one in list(gone):
            slug = self.slugs.pop(one, "")
            # The slug may be another publisher's by now.
            if slug in self.routes and self.routes[slug].publisher_id == one:
                del self.routes[slug]
        for row in rows:
            try:
                route = published.route(dict(row), self.assets, self.modes, self.keyring)
            except Exception:
                # One publisher's unreadable row must not take the others off the air.
                log.exception("snapshot.unreadable", publisher_id=str(row["id"]))
                continue
            self.routes[route.slug] = route
            self.slugs[route.publisher_id] = route.slug

    async def follow_forever(self) -> None:
        while True:
            # When nobody notifies, poll all the same.
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stirred.wait(), POLL_SECONDS)
            self.stirred.clear()
            try:
                await self.catch_up()
            except Exception as error:
                # Whatever it is, what is published stays published and is followed again in a moment.
                log.warning("snapshot.behind", reason=f"{type(error).__name__}: {error}")

    async def catch_up(self) -> None:
        # Asked all the time, this is who finds out first that the pool's connections are dead.
        latest = await version(self.pool, timeout_seconds=ACQUIRE_SECONDS)
        if latest == self.version:
            return
        changes = await self.pool.fetch(SQL.changes, self.version)
        if not changes or changes[0]["version"] > self.version + 1:
            # Older changes were pruned before this process saw them.
            await self.load(None)
            self.forget_keys()
            self.version = max([latest, *(change["version"] for change in changes)])
            return
        if any(change["topic"] == "api_key" for change in changes):
            self.forget_keys()
        for publisher_id in {change["id"] for change in changes if change["topic"] == "publisher"}:
            await self.load(publisher_id)
        self.version = changes[-1]["version"]

    def forget_keys(self) -> None:
        self.keys_changed += 1
        self.edition += 1
        self.keys.clear()

    async def listen_forever(self) -> None:
        while True:
            try:
                await self.listen()
            except Exception as error:
                # The version is polled all the same.
                log.warning("snapshot.deaf", reason=f"{type(error).__name__}: {error}")
            await asyncio.sleep(POLL_SECONDS)

    async def listen(self) -> None:
        """Hear NOTIFY on a connection of its own until it breaks."""
        connection = await asyncpg.connect(self.dsn, timeout=ACQUIRE_SECONDS, command_timeout=ACQUIRE_SECONDS)
        closed = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: closed.set())
            await connection.add_listener(CHANNEL, lambda *_: self.stirred.set())
            self.stirred.set()
            while not closed.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(closed.wait(), HEARTBEAT_SECONDS)
                # A network that lost the connection does not say so; waiting for a notice would never end.
                await version(connection)
        finally:
            connection.terminate()


async def version(db: Db, timeout_seconds: float | None = None) -> int:
    """Of what is published; also a question that every database with our schema can answer."""
    return int(await db.fetchval(SQL.version, timeout=timeout_seconds))


async def prune(db: Db) -> None:
    """Forget changes that every gateway has seen long ago; one that has not reads everything again."""
    await db.execute(SQL.prune)
