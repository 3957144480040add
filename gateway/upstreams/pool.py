"""Kept connections by origin, bounded, with a queue that is served in its order."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from yarl import URL

from gateway.kit.outbox import Outbox
from gateway.upstreams.connection import Connection
from gateway.upstreams.dial import Dialler

IDLE_SECONDS_MAX = 15.0
SWEEP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Origin:
    host: str
    port: int
    is_tls: bool
    authority: str
    """As it stands in Host."""


@dataclass(slots=True, eq=False)
class Lane:
    """The connections to one origin."""

    pool: "Pool"
    origin: Origin
    idle: list[Connection] = field(default_factory=list)
    taken: int = 0
    """In use, or being made."""
    waiting: "deque[asyncio.Future[Connection | None]]" = field(default_factory=deque)

    def take(self) -> Connection | None:
        """The one that was used last, so that the others can grow old."""
        while self.idle:
            connection = self.idle.pop()
            if connection.is_open:
                self.taken += 1
                connection.is_taken = True
                return connection
        return None

    async def connect(self) -> Connection:
        """A new one, or the next that somebody gives back."""
        while self.taken >= self.pool.per_origin:
            given = await self.turn()
            if given is None:
                break
            if given.is_open:
                return given
        else:
            self.taken += 1
        try:
            connection = await self.pool.dialler.dial(
                lambda: Connection(self), self.origin.host, self.origin.port, is_tls=self.origin.is_tls
            )
        except BaseException:
            self.pass_on(None)
            raise
        connection.is_taken = True
        return connection

    async def turn(self) -> Connection | None:
        """Wait in the queue for a connection, or for a place to make one in."""
        turn: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.hand_on(turn.result())
            raise

    def hand_on(self, given: Connection | None) -> None:
        # The place of one that was lost in the meantime is somebody's already.
        if given is None or given.is_taken:
            self.pass_on(given)

    def lost(self, connection: Connection) -> None:
        if connection.is_taken:
            connection.is_taken = False
            self.pass_on(None)
        elif connection in self.idle:
            self.idle.remove(connection)

    def pass_on(self, connection: Connection | None) -> None:
        """A connection, or the place that one had, goes to whoever has waited longest."""
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        self.taken -= 1
        if connection is not None:
            connection.is_taken = False
            connection.idle_since = self.pool.sweeps
            self.idle.append(connection)
            if self.pool.is_closed:
                connection.close()


class Pool:
    def __init__(self, dialler: Dialler, per_origin: int) -> None:
        self.dialler = dialler
        self.per_origin = per_origin
        self.lanes: dict[str, Lane] = {}
        self.sweeper: asyncio.TimerHandle | None = None
        self.sweeps = 0
        self.is_closed = False
        self.loop = asyncio.get_running_loop()
        self.outbox = Outbox(self.loop)

    def lane(self, base: str) -> Lane:
        """``base`` is a URL's scheme and authority."""
        lane = self.lanes.get(base)
        if lane is None:
            lane = self.lanes[base] = Lane(self, origin_of(base))
            # Not only once a connection is kept: to some origins there never is one.
            self.sweep_later()
        return lane

    def sweep_later(self) -> None:
        if self.sweeper is None and not self.is_closed:
            self.sweeper = self.loop.call_later(SWEEP_SECONDS, self.sweep)

    def sweep(self) -> None:
        """Close what nobody has used for long, and forget origins that nobody calls."""
        self.sweeps += 1
        # Nobody looks at a clock for each connection that is given back.
        oldest = self.sweeps - IDLE_SECONDS_MAX / SWEEP_SECONDS
        for base, lane in list(self.lanes.items()):
            for connection in [one for one in lane.idle if one.idle_since < oldest]:
                lane.idle.remove(connection)
                connection.close()
            if not (lane.idle or lane.taken or lane.waiting):
                del self.lanes[base]
        self.sweeper = None
        if self.lanes:
            self.sweep_later()

    def counts(self) -> tuple[int, int]:
        """How many are carrying a call, and how many wait for one."""
        lanes = self.lanes.values()
        return sum(lane.taken for lane in lanes), sum(len(lane.idle) for lane in lanes)

    async def close(self) -> None:
        self.is_closed = True
        if self.sweeper is not None:
            self.sweeper.cancel()
        for lane in self.lanes.values():
            idle, lane.idle = lane.idle, []
            for connection in idle:
                connection.close()
        await self.dialler.close()


def origin_of(base: str) -> Origin:
    url = URL(base, encoded=True)
    if not url.raw_host or not url.port or url.user is not None or url.scheme not in ("http", "https"):
        raise ValueError("this is not the origin of an upstream")
    return Origin(url.raw_host, url.port, url.scheme == "https", url.host_port_subcomponent or "")
