"""A caller's connection: aiohttp's, with the deadlines and the bounds that it does not have.

A head has ten seconds from its first byte, a body keeps a minimum rate while we wait for it, and an answer
that nobody takes is given up. None of these costs a timer where a request arrives whole, as nearly all do.
"""

import asyncio
from typing import TYPE_CHECKING, Any, cast

import structlog
from aiohttp import web
from aiohttp.client_exceptions import ClientConnectionResetError

from gateway.front.arrived import AnyRequest, Arrived
from gateway.front.incoming import Length
from gateway.front.problems import FULL, LATE, BodyTooSlow, unread
from gateway.front.reply import Pourable
from gateway.front.serving import Serving
from gateway.kit.addresses import address_of
from gateway.kit.problem import problem, respond
from gateway.metering import metrics

if TYPE_CHECKING:
    from gateway.front.server import Front

# A body's rate is looked at this often, and one slow look is forgiven.
WINDOW_SECONDS = 5.0
STRIKES_MAX = 2
# As long as clients take between a head and the body behind it, and not so long that it would be missed.
HELD_SECONDS = 0.25

log = structlog.get_logger(__name__)


class Connection(Serving):
    __slots__ = (
        "address",
        "body_bytes",
        "body_timer",
        "early",
        "feeder",
        "place",
        "size",
        "stall_timer",
        "strikes",
    )

    def __init__(self, front: "Front", **settings: Any) -> None:
        super().__init__(front, **settings)
        self.early = b""
        """A known head without all of its body, of which the parser knows nothing yet."""
        self.place: str | None = None
        self.body_bytes = self.strikes = self.size = 0
        self.body_timer: asyncio.TimerHandle | None = None
        self.stall_timer: asyncio.TimerHandle | None = None
        self.feeder: Pourable | None = None
        """The body that is being passed on to this caller: it comes no faster than it is taken."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self.place = self.front.take_place(peer)
        if self.place is None:
            metrics.CONNECTIONS_REFUSED.inc()
            self._force_close = True
            refused = cast(asyncio.Transport, transport)
            refused.write(FULL)
            refused.close()
            return
        self.address = address_of(peer[0] if isinstance(peer, tuple) else "0.0.0.0")  # noqa: S104
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self.place is not None:
            self.front.give_place(self.place)
            self.place = None
        for timer in (self.head_timer, self.body_timer, self.stall_timer):
            if timer is not None:
                timer.cancel()
        if self.feeder is not None:
            self.feeder.end(ClientConnectionResetError("the caller is gone"))
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.is_closing:
            return
        if self.is_stopped:
            self.held += data
            return
        early = self.let_go() if self.early else b""
        if early:
            data = early + data
        was_between = self.is_between and not self._messages
        if was_between and self._task_handler is None:
            found = self.front.headings.recognise(data)
            if found is not None:
                wording, body = found
                if len(body) == wording.heading.length:
                    self.serve_known(wording, body)
                    return
                if not early:
                    self.hold(data)
                    return
        self.parse(data, was_between=was_between)

    def hold(self, data: bytes) -> None:
        """Many clients send the body behind the head: it comes in a moment, or is read as it comes."""
        self.early = data
        self.head_timer = self._loop.call_later(HELD_SECONDS, self.parse_early)

    def let_go(self) -> bytes:
        data, self.early = self.early, b""
        if data and self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None
        return data

    def parse_early(self) -> None:
        self.parse(self.let_go(), was_between=True)

    def parse(self, data: bytes, *, was_between: bool) -> None:
        """What is not known is read."""
        count, self.size = self._request_count, len(data)
        self.read(data)
        self.watch_time()
        is_one = was_between and self._request_count == count + 1
        is_certain = is_one and (self.is_between or isinstance(self.framing, Length))
        self.take_if_idle(data if is_certain else None)

    def begin(self, *, is_ended: bool) -> None:
        super().begin(is_ended=is_ended)
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None
        self.body_bytes = self.strikes = 0

    def watch_time(self) -> None:
        """Of what has begun and not ended."""
        if self.framing is not None:
            self.body_bytes += self.size
            if self.body_timer is None:
                self.body_timer = self._loop.call_later(WINDOW_SECONDS, self.look_at_body)
        elif self.body_timer is not None:
            self.body_timer.cancel()
            self.body_timer = None
        if self.seen and not self.is_broken:
            self.await_head()

    def await_head(self) -> None:
        if self.head_timer is None:
            self.head_timer = self._loop.call_later(self.front.listen.head_seconds_max, self.head_is_late)

    def head_is_late(self) -> None:
        self.head_timer = None
        if self.is_waiting and self.transport is not None:
            metrics.REFUSALS.labels("request-too-slow").inc()
            self.front.outbox.send()
            self.transport.write(LATE)
            self.force_close()
        else:
            # A call is under way: it is answered, and what is begun behind it is not.
            self.close()

    def look_at_body(self) -> None:
        self.body_timer = None
        body = self.body
        if body is None or self.framing is None or self._force_close:
            return
        # A body that nobody reads at the moment waits for us or for the upstream, not for its sender.
        is_awaited = body._waiter is not None and self._current_request is not None
        is_slow = self.body_bytes < self.front.listen.body_bytes_per_second_min * WINDOW_SECONDS
        self.strikes = self.strikes + 1 if is_awaited and is_slow else 0
        self.body_bytes = 0
        if self.strikes >= STRIKES_MAX:
            self.break_off(BodyTooSlow("the request's body came too slowly; nothing was charged"))
        else:
            self.body_timer = self._loop.call_later(WINDOW_SECONDS, self.look_at_body)

    def break_off(self, reason: Exception) -> None:
        super().break_off(reason)
        self.close_after_answer()
        self.close()

    def close_after_answer(self) -> None:
        """Say so in the answer, if there is still one to be written."""
        request = self._current_request
        if request is not None:
            close_after(request)

    def close_if_idle(self) -> None:
        if self.is_waiting and self.head_timer is None:
            self.force_close()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.feeder is not None:
            self.feeder.pause()
        self.stall_timer = self._loop.call_later(self.front.listen.stall_seconds_max, self.give_up)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.feeder is not None:
            self.feeder.resume()
        if self.stall_timer is not None:
            self.stall_timer.cancel()
            self.stall_timer = None
        if self.is_stopped:
            self._loop.call_soon(self.start_again)

    def give_up(self) -> None:
        self.stall_timer = None
        if self.transport is not None:
            log.info("connection.stalled")
            self.transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp's parser refuses, and what nobody else caught, as a problem; then close."""
        if self.has_answered or request.writer.output_size > 0:
            raise ConnectionError("the answer has begun, so there cannot be another")
        if status == 400:
            refusal = unread(exc, message or "")
            metrics.REFUSALS.labels(refusal.slug).inc()
            answer = respond(refusal.problem(), {})
        else:
            metrics.ERRORS.inc()
            log.error("request.failed", exc_info=exc)
            answer = respond(problem(500, "internal-error", "Internal error", "This is a bug of ours."), {})
        answer.force_close()
        return answer


def close_after(request: AnyRequest) -> None:
    """Let the answer say that this connection ends with it."""
    if isinstance(request, Arrived):
        request.keep_alive = False
    else:
        request._message = request._message._replace(should_close=True)
