"""Connections to PostgreSQL that are never waited for without an end.

A database that is away says so. One that has fallen silent, behind a network that lost it, says nothing, and
asyncpg would wait: for a free connection, for the second connection over which it asks to cancel a statement,
and for the answer to that.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
from asyncpg.pool import PoolAcquireContext, PoolConnectionProxy
from asyncpg.protocol import protocol

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Pooled: TypeAlias = PoolConnectionProxy[asyncpg.Record]
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:  # Only asyncpg's stubs are generic: brackets would raise at run time.
    Pool, Pooled, Connection = asyncpg.Pool, PoolConnectionProxy, asyncpg.Connection

# No statement here takes long; one that does waits for a database that is not there.
TIMEOUT_SECONDS = 10
# For a free connection or a new one. Shorter: whoever waits here has no part in what keeps the others.
ACQUIRE_SECONDS = 5
# For a connection to be fit for its next user again: it waits here for a statement that was given up.
RELEASE_SECONDS = 1
# For the server to be told of that statement. Longer, so that it is the pool that hears of it.
CANCEL_SECONDS = 2

# What may be passed as an array. asyncpg asks of each value in one whether it is an array itself, and its own
# way to ask, by abstract classes, was a tenth of a paid call: this is the same question, put to types.
ARRAYS: tuple[type, ...] = list, tuple, set, frozenset, deque, range, type({}.keys()), type({}.values())
protocol.IterableABC = ARRAYS  # type: ignore[attr-defined]

# The server's side of it. Of a gateway that has vanished, it ends what was begun, and with it the locks that
# everybody else waits for; and a statement that was given up here changes nothing much later.
SESSION = f"""
SET statement_timeout = '{TIMEOUT_SECONDS + ACQUIRE_SECONDS}s';
SET idle_in_transaction_session_timeout = '{TIMEOUT_SECONDS + ACQUIRE_SECONDS}s';
SET tcp_keepalives_idle = 10;
SET tcp_keepalives_interval = 5;
SET tcp_keepalives_count = 3;
SET tcp_user_timeout = '30s';
"""


class Impatient(Connection):
    """A connection that is given up when cancelling a statement takes long."""

    async def _cancel(self, waiter: Any, cancel_waiter: Any = None) -> None:
        # asyncpg's own, which it starts for each statement that is cancelled or out of time.
        async with asyncio.timeout(CANCEL_SECONDS) as patience:
            await super()._cancel(waiter, cancel_waiter)  # type: ignore[misc]
        if patience.expired() and not self.is_closed():
            self.terminate()

    def get_reset_query(self) -> str:
        # ``SESSION`` holds for as long as the connection, and what a transaction does ends with it: there is
        # nothing to undo, and so no round trip that a commit's good news could be lost in.
        return ""


class Bounded(Pool):
    """A pool whose every wait has an end."""

    # asyncpg's own.
    _queue: Any
    _generation: int
    _closing: bool

    def acquire(self, *, timeout: float | None = None) -> "PoolAcquireContext[Any]":
        return super().acquire(timeout=ACQUIRE_SECONDS if timeout is None else timeout)

    async def _acquire(self, timeout: float | None) -> Any:  # noqa: ASYNC109 - asyncpg's signature
        # asyncpg's own makes a timer and a task for it, which cost more than a statement's way to the server.
        if not self._closing and not self._queue.empty():
            holder = self._queue.get_nowait()
            if holder.is_connected() and holder._generation == self._generation:
                holder._timeout = timeout
                return await holder.acquire()
            self._queue.put_nowait(holder)
        return await super()._acquire(timeout)  # type: ignore[misc]

    async def release(
        self,
        connection: Any,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - asyncpg's signature
    ) -> None:
        if self.is_fit(connection):
            holder = connection._holder
            connection._con._on_release()
            holder._release()
            holder._setup_inactive_callback()
            return
        try:
            await super().release(connection, timeout=RELEASE_SECONDS if timeout is None else timeout)
        except TimeoutError:
            # It is closed, and what its statement said stands. The others may be as dead, and each would take
            # its time to find out.
            await self.expire_connections()

    def is_fit(self, connection: Any) -> bool:
        """Whether a connection can be used again as it is: nothing runs on it or is to be undone."""
        inner = getattr(connection, "_con", None)
        if inner is None or inner.is_closed() or connection._holder._pool is not self:
            return False
        holder, protocol = connection._holder, inner._protocol
        is_idle = not (protocol._is_cancelling() or inner.is_in_transaction())
        is_young = holder._generation == self._generation and protocol.queries_count < holder._max_queries
        return is_idle and is_young and not inner.get_reset_query()

    async def close(self) -> None:
        # When time is up, asyncpg cuts what is left.
        with suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await super().close()


def bounded(dsn: str, **options: Any) -> Pool:
    """As ``asyncpg.create_pool``, which knows no other class of pools."""
    return Bounded(
        dsn,
        connection_class=Impatient,
        record_class=asyncpg.Record,
        # Nothing to restore when the database is away: the first statement connects, and tells its caller.
        min_size=0,
        max_queries=50_000,
        max_inactive_connection_lifetime=300.0,
        timeout=TIMEOUT_SECONDS,
        command_timeout=TIMEOUT_SECONDS,
        loop=None,
        **options,
    )
