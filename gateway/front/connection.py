"""A caller's connection: aiohttp's, with the deadlines and the bounds that it does not have.

A head has ten seconds from its first byte, a body keeps a minimum rate while we wait for it, and an answer
that nobody takes is given up. None of these costs a timer where a request arrives whole, as nearly all do.
"""

import asyncio
from typing import TYPE_CHECKING, Any, cast

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import _ErrInfo

from gateway.front.arrived import END, LENGTH, AnyRequest, Arrived
from gateway.front.problems import (
    FULL,
    LATE,
    BodyTooSlow,
    HeadTooLarge,
    Malformed,
    printable,
)
from gateway.front.serving import Serving
from gateway.kit.addresses import address_of
from gateway.kit.body import RequestBroken
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
        "body",
        "body_bytes",
        "body_timer",
        "held",
        "is_between",
        "place",
        "rest",
        "stall_timer",
        "strikes",
    )

    def __init__(self, front: "Front", **settings: Any) -> None:
        super().__init__(front, **settings)
        self.is_between = True
        """Whether the parser has nothing of a request that it waits for the rest of."""
        self.held = b""
        """Of a request of which the parser knows nothing yet."""
        self.rest: int | None = None
        """How much is to come of the request that the parser has; None where that is not certain."""
        self.place: str | None = None
        self.body: StreamReader | None = None
        self.body_bytes = self.strikes = 0
        self.body_timer: asyncio.TimerHandle | None = None
        self.stall_timer: asyncio.TimerHandle | None = None

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
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_between, self.is_between = self.is_between, False
        if was_between and self._task_handler is None and not (self._close or self._force_close):
            if self.held:
                data = self.let_go() + data
                found = self.front.headings.recognise(data)
            else:
                found = self.front.headings.recognise(data)
                if found is not None and len(found[1]) < found[0].heading.length:
                    self.hold(data)
                    return
            if found is not None and len(found[1]) == found[0].heading.length:
                self.is_between = True
                self._request_count += 1
                self._task_handler = self._loop.create_task(self.answer(Arrived(self, *found)))
                return
        self.parse(data, is_begun=not was_between)

    def hold(self, data: bytes) -> None:
        """A known head without all of its body, as many clients send it: the rest comes in a moment, or the
        parser gets what is here.
        """
        self.held, self.is_between = data, True
        self.head_timer = self._loop.call_later(HELD_SECONDS, self.parse_held)

    def let_go(self) -> bytes:
        data, self.held = self.held, b""
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None
        return data

    def parse_held(self) -> None:
        self.is_between = False
        self.parse(self.let_go(), is_begun=False)

    def parse(self, data: bytes, *, is_begun: bool) -> None:
        """What is not certain is the parser's. It may have begun with what came before."""
        count, was_empty = self._request_count, not self._messages
        super().data_received(data)
        if self._request_count != count:
            is_one = was_empty and self._request_count == count + 1 and not self._upgraded
            self.rest = rest_of(data, *self._messages[-1], is_begun=is_begun) if is_one else None
            self.is_between = self.rest == 0
            self.begin(data)
            self.take_if_idle(data if self.rest is not None and not is_begun else None)
        else:
            if self.rest is not None:
                self.rest = less(self.rest, len(data), self.body)
                self.is_between = self.rest == 0
            if data and not (self._close or self._force_close or self._upgraded):
                self.go_on(len(data))
            self.take_if_idle()

    def begin(self, data: bytes) -> None:
        """A head is complete."""
        if self.head_timer is not None:
            self.head_timer.cancel()
            self.head_timer = None
        _, body = self._messages[-1]
        if body.is_eof():
            # An error of the parser looks the same. It knows nothing of the body that it came upon.
            self.break_off(RequestBroken("the request's body is not framed as its head says"))
            self.body = body
            is_whole = data.endswith(b"\r\n\r\n") or body.total_bytes > 0
            if not (is_whole or self._upgraded or self._buffer_paused or self._close):
                self.await_head()
            return
        self.body = body
        self.body_bytes = self.strikes = 0
        if self.body_timer is None:
            self.body_timer = self._loop.call_later(WINDOW_SECONDS, self.look_at_body)

    def go_on(self, size: int) -> None:
        """More of a body, the end of one, or a part of a head."""
        if self.body is not None and not self.body.is_eof():
            self.body_bytes += size
        elif self.body_timer is not None:
            self.body_timer.cancel()
            self.body_timer = None
        else:
            self.await_head()

    def await_head(self) -> None:
        if self.head_timer is None:
            self.head_timer = self._loop.call_later(self.front.listen.head_seconds_max, self.head_is_late)

    def head_is_late(self) -> None:
        self.head_timer = None
        if self.is_waiting and self.transport is not None:
            metrics.REFUSALS.labels("request-too-slow").inc()
            self.transport.write(LATE)
            self.force_close()
        else:
            # A call is under way: it is answered, and what is begun behind it is not.
            self.close()

    def look_at_body(self) -> None:
        self.body_timer = None
        body = self.body
        if body is None or body.is_eof() or self._force_close:
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

    def break_off(self, reason: RequestBroken | BodyTooSlow) -> None:
        """End a body that is not complete: whoever reads it gets the reason, and nothing follows it."""
        body = self.body
        if body is None or body.is_eof():
            return
        body.set_exception(reason)
        body.feed_eof()
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
        self.stall_timer = self._loop.call_later(self.front.listen.stall_seconds_max, self.give_up)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.stall_timer is not None:
            self.stall_timer.cancel()
            self.stall_timer = None

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
            detail = printable((message or "").partition("\n")[0].rstrip(": "))
            refusal = HeadTooLarge(detail) if isinstance(exc, LineTooLong) else Malformed(detail)
            metrics.REFUSALS.labels(refusal.slug).inc()
            answer = respond(refusal.problem(), {})
        else:
            metrics.ERRORS.inc()
            log.error("request.failed", exc_info=exc)
            answer = respond(problem(500, "internal-error", "Internal error", "This is a bug of ours."), {})
        answer.force_close()
        return answer


def rest_of(
    data: bytes, message: RawRequestMessage | _ErrInfo, body: StreamReader, *, is_begun: bool
) -> int | None:
    """How much is still to come of the one request that was read from ``data``; None where that is not
    certain. Some of it may have come before.
    """
    if body is EMPTY_PAYLOAD:
        return 0 if data.endswith(END) else None
    # In front of a request there may be empty lines, and the first of its own would not end its head.
    if is_begun or isinstance(message, _ErrInfo) or not data[:1].isalpha():
        return None
    declared = message.headers.getall("Content-Length", ())
    if len(declared) != 1 or not LENGTH.fullmatch(declared[0]):
        return None
    return less(int(declared[0]), len(data) - data.find(END) - len(END), body)


def less(rest: int, size: int, body: StreamReader | None) -> int | None:
    """``size`` bytes of a body have come; None where the parser is of another opinion about its end."""
    rest -= size
    return rest if rest >= 0 and body is not None and body.is_eof() == (rest == 0) else None


def close_after(request: AnyRequest) -> None:
    """Let the answer say that this connection ends with it."""
    if isinstance(request, Arrived):
        request.keep_alive = False
    else:
        request._message = request._message._replace(should_close=True)
