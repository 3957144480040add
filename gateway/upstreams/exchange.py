"""One request to an upstream and its answer, on a connection of its own for that time."""

import asyncio
from collections.abc import Callable
from types import TracebackType

import structlog

from gateway.kit.chunks import Improper
from gateway.kit.problem import Refusal
from gateway.kit.tasks import Crew
from gateway.types import Answer, Body, Head
from gateway.upstreams.answer import Reading
from gateway.upstreams.arriving import Arriving
from gateway.upstreams.connection import Connection
from gateway.upstreams.deadlines import Deadlines
from gateway.upstreams.pool import Lane
from gateway.upstreams.said import Part, Pass, whole

log = structlog.get_logger(__name__)

# A body of up to this size that is here already is written with the head.
AT_ONCE_BYTES_MAX = 1 << 16


class UpstreamUnreachable(Refusal):
    status, slug, title = 502, "upstream-unreachable", "Upstream unreachable"
    outcome = "upstream_failed"


class UpstreamImproper(UpstreamUnreachable):
    """It is there, and what it said of this request cannot be read."""


class UpstreamTimeout(Refusal):
    status, slug, title = 504, "upstream-timeout", "Upstream timeout"
    outcome = "upstream_timeout"


def nothing() -> None:
    """There is nobody to be stopped."""


def unreachable() -> Refusal:
    return UpstreamUnreachable("the publisher's upstream cannot be reached; nothing was charged")


def improper() -> Refusal:
    return UpstreamImproper("the publisher's upstream gave no proper answer; nothing was charged")


def late() -> Refusal:
    return UpstreamTimeout("the publisher's upstream did not answer in time; nothing was charged")


class Exchange:
    """``async with`` it for the answer, once its head is there. Leaving it ends what is not complete."""

    # Most exchanges set few of these.
    connection: Connection | None = None
    reading: Reading | None = None
    """None while nothing has come, and for an answer that came in one piece."""
    is_sent = False
    stop_sending: Callable[[], object] = staticmethod(nothing)

    def __init__(
        self, lane: Lane, deadlines: Deadlines, crew: Crew, method: str, head: bytes, body: Body, passed: Pass
    ) -> None:
        self.lane, self.deadlines, self.crew = lane, deadlines, crew
        self.head, self.body, self.passed = head, body, passed
        self.method = method
        self.answered: asyncio.Future[Head] = lane.pool.loop.create_future()

    async def __aenter__(self) -> Answer:
        return (await self.ask()).answer

    def __enter__(self) -> Answer:
        return self.answer

    async def ask(self) -> "Exchange":
        """Wait for the answer's head; whoever asks closes it, or enters it."""
        # Waiting for a connection included: how long a hold lasts, and a claim, is reckoned with it.
        self.deadlines.start(self)
        try:
            connection = self.lane.take() or await self.connect()
            self.connection, connection.exchange = connection, self
            self.arriving = Arriving(connection)
            if self.answered.cancelled():
                raise late()
            if (body := self.body.here()) is not None and connection.transport is not None:
                lane = self.lane
                lane.pool.outbox.put(connection.transport, self.head + body, lane.taken)
                self.is_sent = True
            else:
                await self.send(connection)
            self.answer = Answer(await self.answered, self.arriving)
            return self
        except BaseException:
            self.deadlines.stop(self)
            self.close()
            raise

    async def connect(self) -> Connection:
        try:
            async with asyncio.timeout(self.deadlines.seconds):
                return await self.lane.connect()
        except TimeoutError:
            raise late() from None
        except OSError as error:
            raise self.told(unreachable(), str(error) or type(error).__name__) from None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def send(self, connection: Connection) -> None:
        length = self.body.length
        if length is not None and length <= AT_ONCE_BYTES_MAX and self.body.is_whole:
            parts = [self.head]
            async for chunk in self.body.chunks():
                parts.append(chunk)
            connection.write(b"".join(parts))
            self.is_sent = True
        else:
            connection.write(self.head)
            self.stop_sending = self.crew.start(self.send_on(connection))

    async def send_on(self, connection: Connection) -> None:
        """Beside the answer: an upstream may answer while it is still being told."""
        is_chunked = self.body.length is None
        try:
            async for chunk in self.body.chunks():
                if not chunk:
                    continue
                if is_chunked:
                    connection.write_chunk(chunk)
                else:
                    connection.write(chunk)
                if not connection.is_writable:
                    await connection.drained()
                if not connection.is_open:
                    return
            if is_chunked:
                connection.write(b"0\r\n\r\n")
        except Exception as error:
            # The caller's body is too large, broke off, or worse. It is raised where the answer is awaited.
            self.stop_sending = nothing
            self.fail(error)
            return
        self.is_sent = True
        self.release()

    def received(self, data: bytes) -> None:
        """The connection's: bytes of the answer."""
        if self.reading is not None:
            self.read(self.reading, data)
        elif self.is_sent and self.method != "HEAD" and (said := whole(data)) is not None:
            self.arriving.complete(data[-said.length :])
            if not self.answered.done():
                self.answered.set_result(said.head(self.passed))
            self.give_back(is_kept=said.is_kept)
        else:
            self.reading = Reading(self.method)
            self.read(self.reading, data)

    def read(self, reading: Reading, data: bytes) -> None:
        had_head = reading.status
        try:
            body = reading.feed(data)
            if reading.is_surplus and not had_head:
                raise Improper("there is more than the answer")
        except Improper as error:
            self.fail(self.told(improper(), str(error)))
            return
        if body:
            self.arriving.feed(body)
        is_done = reading.part is Part.DONE
        if is_done:
            self.arriving.trailers = reading.trailers
            self.arriving.end()
        if not had_head and reading.status and not self.answered.done():
            self.answered.set_result(reading.said.head(self.passed))
        if is_done:
            self.release()

    def ended(self) -> None:
        """The connection's: the upstream says no more."""
        reading = self.reading
        if reading is None or not reading.status:
            self.fail(self.told(unreachable(), "it closed the connection without an answer"))
            return
        try:
            reading.feed_eof()
        except Improper as error:
            self.fail(self.told(improper(), str(error)))
        else:
            self.arriving.end()
            self.close()

    def lost(self, error: Exception | None) -> None:
        if error is None:
            self.ended()
        else:
            self.fail(self.told(unreachable(), str(error) or type(error).__name__))

    def told(self, refusal: Refusal, reason: str) -> Refusal:
        """To whoever reads the log: a caller learns nothing about what is behind the gateway."""
        log.info("upstream.failed", upstream=self.lane.origin.authority, reason=reason)
        return refusal

    def expire(self) -> None:
        if self.connection is None:
            # It is still waiting for one, and says so itself.
            self.answered.cancel()
        else:
            self.fail(late())

    def fail(self, error: Exception) -> None:
        """There will be no answer, or no more of it."""
        if not self.answered.done():
            self.answered.set_exception(error)
        else:
            broken = TimeoutError() if isinstance(error, UpstreamTimeout) else ConnectionAbortedError()
            broken.__cause__ = error
            self.arriving.end(broken)
        self.close()

    def release(self) -> None:
        """Give the connection back once both sides have said all of it, and it is certain what comes next."""
        reading = self.reading
        if self.is_sent and reading is not None and reading.is_done:
            self.give_back(is_kept=reading.is_kept and not reading.is_surplus)

    def give_back(self, *, is_kept: bool) -> None:
        connection = self.connection
        if connection is None:
            return
        if not (is_kept and connection.is_open):
            self.close()
            return
        self.connection = connection.exchange = None
        self.deadlines.stop(self)
        self.lane.pass_on(connection)

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is None:
            return
        self.deadlines.stop(self)
        if not self.is_sent:
            self.stop_sending()
        connection.close()
        self.arriving.end(ConnectionAbortedError())
