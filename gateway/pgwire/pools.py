"""Pools of connections to endpoints' servers, which many clients share one after the other."""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID
from weakref import WeakValueDictionary

from config.pgproxy import PgProxy
from gateway.kit.tasks import Crew
from gateway.pgwire import metrics
from gateway.pgwire.computes import Endpoint
from gateway.pgwire.messages import TOO_MANY, Fatal
from gateway.pgwire.pooled import PooledClient
from gateway.pgwire.pooled_server import PooledServer
from gateway.pgwire.scram import Keys
from gateway.pgwire.statements import Shelf
from gateway.pgwire.waking import Waker

APPLICATION_NAME = b"application_name"


@dataclass(frozen=True, slots=True)
class Name:
    """Who share a pool: the same role at the same database, whose sessions start alike."""

    endpoint: UUID
    is_session: bool
    parameters: tuple[tuple[bytes, bytes], ...]


class Pools:
    def __init__(self, settings: PgProxy, waker: Waker) -> None:
        self.settings, self.waker = settings, waker
        self.pools: dict[Name, Pool] = {}
        self.shelves: WeakValueDictionary[UUID, Shelf] = WeakValueDictionary()
        self.crew = Crew()
        waker.make_room = self.make_room

    def find(self, endpoint: Endpoint, parameters: Mapping[bytes, bytes], keys: Keys) -> "Pool":
        """What a client calls itself changes with each, and is set when it is served."""
        alike = {name: value for name, value in parameters.items() if name != APPLICATION_NAME}
        is_session = endpoint.pooler_mode == "session"
        name = Name(endpoint.id, is_session, tuple(sorted(alike.items())))
        pool = self.pools.get(name)
        if pool is None:
            shelf = self.shelves.setdefault(endpoint.id, Shelf())
            pool = self.pools[name] = Pool(self, alike, shelf, is_session=is_session)
        # Those of the last one who proved them: a password that was changed is the new one.
        pool.endpoint, pool.keys = endpoint, keys
        return pool

    def look(self) -> None:
        """Close what nobody needs. Now and then."""
        now = asyncio.get_running_loop().time()
        busy = idle = waiting = 0
        for name, pool in list(self.pools.items()):
            for server in [one for one in pool.idle if self.is_stale(one, now)]:
                pool.close(server)
            idle += len(pool.idle)
            busy += len(pool.servers) - len(pool.idle)
            waiting += len(pool.waiting)
            if not (pool.clients or pool.servers or pool.opening or pool.arriving):
                del self.pools[name]
        metrics.POOLED.labels("busy").set(busy)
        metrics.POOLED.labels("idle").set(idle)
        metrics.WAITING.set(waiting)

    def make_room(self, endpoint: Endpoint) -> bool:
        """Pools hold on to what they may need again, and would keep everybody else out of a full server."""
        alike = [pool for pool in self.pools.values() if pool.endpoint.timeline_id == endpoint.timeline_id]
        pool = min((one for one in alike if one.idle), key=lambda one: one.idle[0].idle_since, default=None)
        if pool is not None:
            pool.close(pool.idle[0])
        return pool is not None

    def is_stale(self, server: PooledServer, now: float) -> bool:
        return now - server.idle_since > self.settings.pool_idle_seconds_max

    async def close(self) -> None:
        for pool in self.pools.values():
            for server in list(pool.servers):
                pool.close(server)
        await self.crew.close()


class Pool:
    endpoint: Endpoint
    keys: Keys

    def __init__(
        self, pools: Pools, parameters: Mapping[bytes, bytes], shelf: Shelf, *, is_session: bool
    ) -> None:
        self.pools, self.asked, self.shelf, self.is_session = pools, parameters, shelf, is_session
        self.clients: set[PooledClient] = set()
        self.waiting: deque[PooledClient] = deque()
        self.servers: set[PooledServer] = set()
        self.idle: list[PooledServer] = []
        """The one that was used last is used next: the others may be closed."""
        self.arriving = 0
        self.opening = 0
        self.parameters: Mapping[bytes, bytes] | None = None
        """What a session has that was just opened, once one was."""
        self.first: asyncio.Future[None] | None = None

    async def opened(self) -> Mapping[bytes, bytes]:
        """What a client is told at its login: the first one's proves that a connection can be had, and later
        ones wake nothing.
        """
        self.arriving += 1
        try:
            while self.parameters is None:
                if self.first is None:
                    self.first = asyncio.get_running_loop().create_future()
                    self.open()
                await asyncio.shield(self.first)
        finally:
            self.arriving -= 1
        return self.parameters

    def serve(self, client: PooledClient) -> None:
        """Now, or when there is a server for it."""
        while self.idle:
            server = self.idle.pop()
            if server.is_alive:
                client.given(server)
                return
            self.close(server)
        self.waiting.append(client)
        seconds = self.pools.settings.pool_wait_seconds_max
        client.patience = asyncio.get_running_loop().call_later(seconds, self.give_up, client)
        self.open_if_wanted()

    def open_if_wanted(self) -> None:
        there = len(self.servers) + self.opening
        if self.opening < len(self.waiting) and there < self.pools.settings.pool_size:
            self.open()

    def give_up(self, client: PooledClient) -> None:
        if client in self.waiting:
            self.waiting.remove(client)
            client.end(full())

    def open(self) -> None:
        self.opening += 1
        self.pools.crew.start(self.keep_open())

    async def keep_open(self) -> None:
        """A connection from its beginning to its end."""
        is_opening = True
        try:
            async with self.pools.waker.session(self.endpoint, self.asked, self.keys) as session:
                server = PooledServer(session, self.free)
                session.wire.hand_over(server)
                self.servers.add(server)
                self.opening -= 1
                is_opening = False
                try:
                    self.begin(server)
                    await server.over
                finally:
                    self.forget(server)
            self.open_if_wanted()
        except Fatal as error:
            self.failed(error)
        finally:
            self.opening -= is_opening

    def begin(self, server: PooledServer) -> None:
        self.parameters = dict(server.parameters)
        self.tell_first(None)
        self.hand_on(server)

    def failed(self, error: Fatal) -> None:
        self.tell_first(error)
        if error.sqlstate == TOO_MANY and self.servers:
            # The server is full of others' connections, and ours come back.
            return
        while self.waiting:
            self.waiting.popleft().end(error)

    def tell_first(self, error: Fatal | None) -> None:
        first, self.first = self.first, None
        if first is not None and not first.done():
            if error is None:
                first.set_result(None)
            else:
                first.set_exception(error)
                # Nobody may be left who asks.
                first.exception()

    def free(self, server: PooledServer) -> None:
        """It has answered everything, and no transaction is open."""
        if server.client is None:
            # It was reset, after a session.
            self.hand_on(server)
        elif not self.is_session:
            server.client.taken()
            self.hand_on(server)

    def hand_on(self, server: PooledServer) -> None:
        if server.answers.is_doubtful or server.cancels:
            # One that a request to cancel is on its way to must not get it in the middle of another's query.
            self.close(server)
        elif self.waiting:
            self.waiting.popleft().given(server)
        else:
            server.is_free = True
            server.idle_since = asyncio.get_running_loop().time()
            self.idle.append(server)

    def left(self, client: PooledClient) -> None:
        """A client is gone. What it had not finished is finished for nobody."""
        self.clients.discard(client)
        client.prepared.clear()
        if client in self.waiting:
            self.waiting.remove(client)
        server = client.server
        if server is None:
            return
        client.taken()
        if server.answers.is_settled and not server.answers.is_doubtful and not client.passing:
            server.statements.clear()
            server.ask("DISCARD ALL")
        else:
            self.close(server)

    def close(self, server: PooledServer) -> None:
        if server in self.idle:
            self.idle.remove(server)
        if not server.transport.is_closing():
            server.transport.write(TERMINATE)
        server.transport.close()

    def forget(self, server: PooledServer) -> None:
        self.servers.discard(server)
        if server in self.idle:
            self.idle.remove(server)

    async def cancel(self, client: PooledClient) -> None:
        """What a client's server does for it, while it does."""
        server = client.server
        if server is None:
            return
        server.cancels += 1
        try:
            await server.session.cancel()
        finally:
            server.cancels -= 1


TERMINATE = b"X\0\0\0\4"


def full() -> Fatal:
    return Fatal(TOO_MANY, "no connection of the pool became free in time", "Finish transactions sooner.")
