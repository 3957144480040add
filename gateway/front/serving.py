"""Requests of one connection, one after the other, each in a task that begins when it has arrived.

aiohttp has a task that waits for requests and starts another for each, which is a good part of what a short
answer costs. Its parser, its connection and its responses are used as they are.
"""

import asyncio
from typing import TYPE_CHECKING, Any, cast

import structlog
from aiohttp import web
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import StreamWriter
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import ERROR, PayloadAccessError, _ErrInfo

from gateway.front.arrived import Arrived, Heading, Wording
from gateway.front.framing import flaw
from gateway.front.incoming import Incoming
from gateway.front.reply import Reply
from gateway.kit.problem import Refusal

if TYPE_CHECKING:
    from gateway.front.connection import Connection
    from gateway.front.server import Front

LINGER_SECONDS = 10.0

log = structlog.get_logger(__name__)


class Serving(Incoming):
    __slots__ = ("front", "has_answered", "head_timer", "is_stopped")

    def __init__(self, front: "Front", **settings: Any) -> None:
        super().__init__(front, **settings)
        self.front = front
        self.has_answered = False
        """Whether the answer to the request that is served has begun."""
        self.head_timer: asyncio.TimerHandle | None = None
        """Runs while the head of a request is arriving."""
        self.is_stopped = False
        """Whether nothing is served until the caller takes what was answered."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._task_handler = None

    async def start(self) -> None:
        """Called by aiohttp for each connection. Nothing waits here: see ``take``."""

    def serve_known(self, wording: Wording, body: bytes) -> None:
        """A call whose head came before, where nothing is under way."""
        self._request_count += 1
        connection: Connection = self  # type: ignore[assignment]
        front = self.front
        if not front.is_draining and front.tell_at_once(connection, wording):
            self.go_on_or_end(is_kept=True)
            return
        self.begin_answer(Arrived(connection, wording, body))

    def begin_answer(self, arrived: Arrived) -> None:
        # Without a name one is put together for each, which takes a tenth of what a task does.
        self._task_handler = asyncio.Task(self.answer(arrived), loop=self._loop, name="call")

    def take_if_idle(self, data: bytes | None = None) -> None:
        if self._messages and self._task_handler is None:
            self.take(data)

    def take(self, data: bytes | None) -> None:
        """Serve the next request. ``data`` is all that came of it, where that is certain."""
        message, body = self._messages.popleft()
        arrived = None if isinstance(message, _ErrInfo) else self.call_of(message, body)
        if arrived is None:
            self._task_handler = self._loop.create_task(self.serve(message, body))
        else:
            if data is not None:
                self.front.headings.learn(data, arrived)
            self.begin_answer(arrived)
        # Room for one more that was sent ahead.
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()

    def call_of(self, message: RawRequestMessage, body: StreamReader) -> Arrived | None:
        """None for what aiohttp's kind of request is needed for, and for what nobody may act on."""
        if message.upgrade or not self.front.is_call(message.method, message.path.partition("?")[0]):
            return None
        wording = Wording(message.method, message.path, Heading(message.headers))
        arrived = Arrived(cast("Connection", self), wording, b"", message.version, body)
        arrived.keep_alive = not message.should_close
        return None if flaw(arrived) else arrived

    async def answer(self, arrived: Arrived) -> None:
        """Serve a call, whose answer is written when it returns."""
        front = self.front
        front.calls += 1
        is_kept = self.has_answered = False
        # aiohttp ends these when the connection is lost, or the process is to end.
        self._current_request, self._request_in_progress = arrived, True  # type: ignore[assignment]
        if front.is_draining:
            arrived.keep_alive = False
        try:
            is_kept = bool((await front.call(arrived)).keep_alive)
            if not arrived.content.is_eof():
                await self.linger(arrived.content)
        except ConnectionError:
            # The caller is gone, or got half of an answer.
            is_kept = False
        except asyncio.CancelledError:
            self.force_close()
            raise
        except Exception:
            log.exception("connection.failed")
            is_kept = False
        finally:
            front.calls -= 1
            self._current_request, self._request_in_progress, self._task_handler = None, False, None
            if self._handler_waiter is not None:
                self._handler_waiter.set_result(None)
        self.go_on_or_end(is_kept=is_kept)

    async def serve(self, message: Any, body: StreamReader) -> None:
        own = self._task_handler
        handler = self._request_handler
        if isinstance(message, _ErrInfo):
            handler, message = self._make_error_handler(message), ERROR
        is_kept = self.has_answered = False
        try:
            if handler is not None and self._request_factory is not None and own is not None:
                writer = StreamWriter(self, self._loop)
                request = self._request_factory(message, body, self, writer, own)
                answer, is_lost = await self._handle_request(request, None, handler)
                is_kept = not is_lost and bool(answer.keep_alive)
                if not body.is_eof():
                    await self.linger(body)
        except ConnectionError:
            # The caller is gone, or got half of an answer.
            is_kept = False
        except asyncio.CancelledError:
            self.force_close()
            raise
        except Exception:
            log.exception("connection.failed")
            is_kept = False
        finally:
            self._task_handler = None
        body.set_exception(PayloadAccessError())
        self.go_on_or_end(is_kept=is_kept)

    async def linger(self, body: StreamReader) -> None:
        """Read what is left of a request whose answer is out, for a while.

        A connection that is closed on unread bytes is reset, and the reset may overtake the answer.
        """
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                # Whoever was passing it on to an upstream was told to stop, and does in the loop's next turn.
                await asyncio.sleep(0)
                while not body.is_eof() and not self._force_close:
                    await body.readany()
        except (TimeoutError, Refusal, web.RequestPayloadError):
            # It goes on for too long, or breaks off. Its sender has been answered.
            pass
        if not body.is_eof():
            self.close()

    def go_on_or_end(self, *, is_kept: bool) -> None:
        self._keepalive = is_kept
        if self._force_close:
            return
        if not is_kept or self._close:
            if self.transport is not None:
                # With the answer, if that is not written yet.
                self.front.outbox.send()
                self.transport.close()
            return
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(
                self._next_keepalive_close_time, self._process_keepalive
            )
        if self._paused:
            # Answers of a few bytes would pile up here, for as long as requests come.
            self.is_stopped = True
            self.pause_reading()
        elif self.held or self._messages:
            self.go_on()

    def go_on(self) -> None:
        if self.held:
            self.data_received(b"")
        elif self._messages:
            self.take_if_idle()

    def start_again(self) -> None:
        """The caller has taken what there was, or most of it."""
        if self.is_stopped and not self.writing_paused and self.transport is not None:
            self.is_stopped = False
            self.resume_reading()
            self.go_on()

    def eof_received(self) -> None:
        # The loop closes the connection next, with what is written until then.
        self.front.outbox.send()

    def force_close(self) -> None:
        self.front.outbox.send()
        super().force_close()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse | Reply, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write aiohttp's kind of answer. Ours is written."""
        self.decline_upgrade()
        if isinstance(resp, Reply):
            return cast(web.StreamResponse, resp), False
        # In place of the versions of what it is made with.
        resp.headers.setdefault("Server", "farebox")
        return await super().finish_response(request, resp, start_time)

    @property
    def is_waiting(self) -> bool:
        """Whether no request is here, or only a part of one's head."""
        return self._task_handler is None and not self._messages

    @property
    def is_closing(self) -> bool:
        """Whether the next answer is the last."""
        return self._close or self._force_close

    def _process_keepalive(self) -> None:
        self._keepalive_handle = None
        # Not idle while a request arrives, which has a deadline of its own, or is served.
        if not self.is_waiting or self.head_timer is not None or self._force_close or not self._keepalive:
            return
        if self._loop.time() < self._next_keepalive_close_time:
            self._keepalive_handle = self._loop.call_at(
                self._next_keepalive_close_time, self._process_keepalive
            )
        else:
            self.force_close()
