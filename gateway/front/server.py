"""The connections of one process: how many there may be, and how they end when the process does."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

import structlog
from aiohttp import HttpVersion10, web

from config.settings import Listen
from gateway.front.arrived import Arrived, Headings, IsCall, Wording
from gateway.front.connection import Connection, close_after
from gateway.front.framing import flaw
from gateway.front.problems import Malformed
from gateway.front.reply import Reply
from gateway.kit.addresses import address_of, unit
from gateway.kit.outbox import Outbox
from gateway.kit.problem import respond
from gateway.kit.proxies import is_trusted
from gateway.metering import metrics

HEADER_BYTES_MAX = 1 << 16
# An idle connection may have a request under way to us, so it is not closed at once when the process is to
# end: the request is answered, and the answer says that the connection ends with it.
IDLE_DRAIN_SECONDS = 3.0
# For what is cut off at the end to part with its callers.
PARTING_SECONDS = 1.0
LOOK_SECONDS = 0.5

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse | Reply]]
Call = Callable[[Arrived], Awaitable[web.StreamResponse | Reply]]
AtOnce = Callable[[Connection, Wording], bool]

log = structlog.get_logger(__name__)

# aiohttp logs a traceback for much that its peer does wrong; strangers must not be able to fill the log.
QUIET = logging.getLogger("gateway.http")
QUIET.setLevel(logging.CRITICAL)


class Front(web.Server):
    """Give it to ``loop.create_server``; it answers what cannot be read and hands the rest to ``handler``."""

    def __init__(
        self,
        handler: Handler,
        listen: Listen,
        request_factory: Any = None,
        calls: tuple[IsCall, Call] | None = None,
        tell_at_once: AtOnce | None = None,
    ) -> None:
        """``calls`` are served without making aiohttp's kind of request of them, but for WebSockets.

        ``tell_at_once`` is asked before them about calls that are known, and says whether it has answered.
        """
        super().__init__(
            # aiohttp passes on what it is given, and the connection knows both kinds of answer.
            cast(Any, self.answer),
            request_factory=request_factory,
            access_log=None,
            logger=QUIET,
            auto_decompress=False,
            keepalive_timeout=listen.idle_seconds_max,
            max_field_size=HEADER_BYTES_MAX,
            max_line_size=HEADER_BYTES_MAX,
        )
        self.handler = handler
        self.is_call, self.call = calls or (never, nobody)
        self.tell_at_once = tell_at_once or nothing_at_once
        self.headings = Headings(self.is_call)
        self.listen = listen
        self.outbox = Outbox(self._loop)
        self.calls = 0
        """Under way."""
        self.places: dict[str, int] = {}
        self.taken = 0
        self.is_draining = False

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop, **self._kwargs)

    def answer(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse | Reply]:
        if why := flaw(request):
            metrics.REFUSALS.labels(Malformed.slug).inc()
            # The answer is in a version that exists, whatever the request claimed.
            request._version = HttpVersion10
            refusal = respond(Malformed(why).problem(), {})
            refusal.force_close()
            return at_once(refusal)
        if self.is_draining:
            close_after(request)
        return self.handler(request)

    def take_place(self, peer: Any) -> str | None:
        """Whose place it is, to be given back; None when there is none."""
        whose = unit(peer[0]) if isinstance(peer, tuple) else "?"
        own = self.places.get(whose, 0)
        is_one_too_many = own >= self.listen.connections_per_address_max and not self.is_proxy(peer)
        if self.taken >= self.listen.connections_max or is_one_too_many:
            return None
        self.places[whose] = own + 1
        self.taken += 1
        return whose

    def is_proxy(self, peer: Any) -> bool:
        """Its connections are many callers'."""
        return isinstance(peer, tuple) and is_trusted(address_of(peer[0]), self.listen.trusted_proxies)

    def give_place(self, whose: str) -> None:
        self.taken -= 1
        left = self.places[whose] - 1
        if left:
            self.places[whose] = left
        else:
            del self.places[whose]

    async def accept_waiting(self, queue: socket.socket) -> None:
        """Take in whom the kernel has greeted already: they would be cut off with the socket."""
        loop = asyncio.get_running_loop()
        queue.settimeout(0)
        with suppress(BlockingIOError):
            while True:
                accepted, _ = queue.accept()
                await loop.connect_accepted_socket(self, accepted)

    async def drain(self, seconds: float) -> None:
        """Answer what is here and what still comes on open connections, closing each with its answer.

        Nobody accepts any more. After ``seconds`` what is left is cut off.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        self.is_draining = True
        for connection in self.open():
            connection.close_after_answer()
        while (spent := loop.time() - started) < seconds:
            left = self.open()
            if not left:
                break
            if spent >= IDLE_DRAIN_SECONDS:
                for connection in left:
                    connection.close_if_idle()
            tasks = self.serving()
            await (asyncio.wait(tasks, timeout=LOOK_SECONDS) if tasks else asyncio.sleep(LOOK_SECONDS))
        cut_off = self.serving()
        for task in cut_off:
            task.cancel()
        if cut_off:
            # WebSockets say goodbye, for which aiohttp leaves them no time.
            await asyncio.wait(cut_off, timeout=PARTING_SECONDS)
        await self.shutdown(0.1)

    def open(self) -> list[Connection]:
        return [one for one in self.connections if isinstance(one, Connection)]

    def serving(self) -> list[asyncio.Task[None]]:
        return [one._task_handler for one in self.open() if one._task_handler is not None]


async def at_once(answer: web.StreamResponse) -> web.StreamResponse:
    return answer


def nothing_at_once(connection: Connection, wording: Wording) -> bool:
    """Every call is served."""
    return False


def never(method: str, path: str) -> bool:
    """There are no calls here."""
    return False


async def nobody(arrived: Arrived) -> web.StreamResponse | Reply:
    raise AssertionError("asked only for calls")
