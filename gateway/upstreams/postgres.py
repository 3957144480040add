"""A publisher's PostgreSQL: one statement that reads, on a connection of its own.

Nothing here trusts that somebody has looked at the statement before. It runs in a transaction that cannot
write, as a role that has no power by the server's word, and only if it describes the rows that it returns:
COPY and DO do not. The session ends with it, so nothing of it is left to the next.

The result is read ahead up to a mebibyte before there is an answer, so that what fails until then is an error
and costs nothing. What fails later breaks the answer off.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable
from types import TracebackType
from typing import Literal, TypeAlias, TypeVar
from uuid import UUID

from multidict import CIMultiDict, CIMultiDictProxy

from config import settings
from gateway.kit import hygiene
from gateway.kit.problem import invalid
from gateway.kit.sql import Statements
from gateway.kit.ssrf import Guard
from gateway.kit.tasks import Crew
from gateway.metering import metrics
from gateway.options import Question
from gateway.types import Answer, Head
from gateway.upstreams import postgres_values as values
from gateway.upstreams import postgres_wire as wire
from gateway.upstreams.dial import Dialler
from gateway.upstreams.exchange import unreachable
from gateway.upstreams.postgres_places import Database, Sold, locate
from gateway.upstreams.postgres_plans import rows_of
from gateway.upstreams.postgres_refusals import (
    DatabaseBusy,
    DatabaseUnsafe,
    Outcome,
    QuerySlow,
    RowsTooLarge,
    came_to,
    cut_off,
    failed,
    lost,
)
from gateway.upstreams.postgres_rows import TYPES, Counted, Writer
from gateway.upstreams.postgres_wire import Broken, ServerError, TooLarge, Wire

SQL = Statements(__file__)
# The server stops what takes too long also when nobody is there to ask it.
BEGIN = (
    "BEGIN TRANSACTION READ ONLY; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = 1000; "
    "SET LOCAL idle_in_transaction_session_timeout = 10000; SET LOCAL datestyle = 'ISO, YMD'; "
    "SET LOCAL intervalstyle = 'iso_8601'; SET LOCAL timezone = 'UTC'; SET LOCAL bytea_output = 'hex'; "
    "SET LOCAL extra_float_digits = 1; SET LOCAL jit = off; "
)
AHEAD_BYTES = 1 << 20
CHUNK_BYTES = 1 << 16
# The server's own limit comes first: it ends the work, ours only the waiting.
GRACE_SECONDS = 2

# What is read of a message that no server should send.
IMPROPER = (Broken, asyncio.IncompleteReadError, struct.error, ValueError, LookupError, RecursionError)
FAILURES = (OSError, TooLarge, ServerError, *IMPROPER)

T = TypeVar("T")
Kind: TypeAlias = Literal["sold", "estimate", "tables"]
"""Why a database is asked."""


class Queries:
    """One process's questions to everybody's databases."""

    def __init__(
        self, guard: Guard, upstream: settings.Upstream, own: settings.Queries, branches: Sold = None
    ) -> None:
        self.branches = branches
        self.dialler = Dialler(guard, upstream.connect_timeout_seconds)
        self.settings = own
        self.crew = Crew()
        self.under_way: dict[UUID, int] = {}

    def ask(
        self, publisher_id: UUID, database: Database, question: Question, kind: Kind = "sold"
    ) -> "Asking":
        """To be asked, or entered with ``async with``, for the answer."""
        return Asking(self, publisher_id, database, question, kind)

    async def estimate(self, publisher_id: UUID, database: Database, statement: str) -> int:
        """How many rows the planner expects. Nothing of its plan is told to anybody."""
        question = Question(f"EXPLAIN (FORMAT JSON) {statement}", (), 1)
        async with self.ask(publisher_id, database, question, "estimate") as answer:
            content = b"".join([chunk async for chunk in answer.chunks])
        return rows_of(content)

    async def close(self) -> None:
        await self.crew.close()
        await self.dialler.close()


class Asking:
    """A session with the database for as long as its answer lasts."""

    wire: Wire

    def __init__(
        self, queries: Queries, publisher_id: UUID, database: Database, question: Question, kind: Kind
    ) -> None:
        self.queries, self.publisher_id, self.question, self.kind = queries, publisher_id, question, kind
        self.settings, self.database = queries.settings, database
        self.until = 0.0
        self.is_counted = self.is_located = self.is_asked = self.is_done = False
        self.outcome: Outcome | None = None
        """None while nothing went wrong."""
        self.passed_on: Counted | None = None

    async def __aenter__(self) -> Answer:
        return (await self.ask()).answer

    def __enter__(self) -> Answer:
        return self.answer

    async def ask(self) -> "Asking":
        """Wait for the answer's beginning; whoever asks closes it, or enters it."""
        try:
            await self.begin()
            self.answer = await self.begun()
            return self
        except BaseException as error:
            self.outcome = came_to(error)
            self.close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Also when it is closed already."""
        if not self.is_counted:
            return
        self.is_counted = False
        under_way = self.queries.under_way
        under_way[self.publisher_id] -= 1
        if not under_way[self.publisher_id]:
            del under_way[self.publisher_id]
        self.count()
        if not self.is_located:
            return
        if self.is_done or not self.is_asked:
            self.wire.end()
        else:
            self.wire.close()
            # It may be computing, and would find out only when it wants to send something.
            self.queries.crew.start(self.wire.cancel())

    def count(self) -> None:
        outcome = self.outcome or ("answered" if self.is_done else "left")
        metrics.QUERIES.labels(self.kind, outcome).inc()
        if self.kind == "sold" and self.passed_on is not None:
            metrics.QUERY_ROWS.inc(self.passed_on.row_count)
            metrics.QUERY_BYTES.inc(self.passed_on.byte_count)

    async def begin(self) -> None:
        count = self.queries.under_way.get(self.publisher_id, 0)
        if count >= self.settings.at_once_per_publisher:
            raise DatabaseBusy("as many queries of this publisher run as may; nothing was charged")
        self.queries.under_way[self.publisher_id] = count + 1
        self.is_counted = True
        self.until = asyncio.get_running_loop().time() + self.settings.seconds_max + GRACE_SECONDS
        try:
            async with asyncio.timeout_at(self.until):
                self.wire = Wire(self.queries.dialler, await locate(self.queries.branches, self.database))
            self.is_located = True
            async with asyncio.timeout(self.queries.dialler.timeout_seconds * 2):
                await self.wire.open()
                is_powerful, is_watched = await self.opened()
        except FAILURES as error:
            # The publisher is told more, when it is saved.
            raise unreachable() from error
        if is_powerful or is_watched:
            raise DatabaseUnsafe(is_powerful=is_powerful)

    async def opened(self) -> tuple[bool, bool]:
        """Begin; whether the role may do too much, and whether other sessions see what this one asks."""
        statement = BEGIN.format(self.settings.seconds_max * 1000) + SQL.role
        self.wire.write(wire.message(b"Q", wire.text(statement)))
        found: list[str | None] = []
        while True:
            kind, data = await self.wire.receive()
            if kind == b"D":
                found = wire.values_of(data)
            if kind == b"Z":
                return found[0] != "f", found[1] != "f"

    async def begun(self) -> Answer:
        columns = await self.within(self.prepared())
        question = self.question
        writer = Writer(question.format, columns)
        chunks = self.chunks(writer)
        ahead: list[tuple[bytes, int]] = []
        try:
            size = 0
            while size < AHEAD_BYTES:
                ahead.append(await self.within(anext(chunks)))
                size += len(ahead[-1][0])
        except StopAsyncIteration:
            pass
        headers = CIMultiDict({"Content-Type": TYPES[question.format], "X-Row-Limit": str(question.rows_max)})
        headers[hygiene.POLICY] = hygiene.SANDBOX
        if self.is_done:
            headers["Content-Length"] = str(sum(len(chunk) for chunk, _ in ahead))
        counted = self.passed_on = Counted(ahead, None if self.is_done else self.rest(chunks))
        return Answer(Head(200, "OK", CIMultiDictProxy(headers)), counted, counted)

    async def prepared(self) -> list[tuple[str, int]]:
        """The columns that there will be. Bound and running when it returns."""
        question = self.question
        self.is_asked = True
        self.wire.write(wire.asked(question.statement))
        try:
            await self.wire.expect(b"1")
            oids = wire.types_of(await self.wire.expect(b"t"))
            kind, data = await self.wire.receive()
        except ServerError as error:
            raise failed(error, is_before_data=True) from None
        if kind != b"T":
            raise invalid("body/query", "returns no rows")
        if len(oids) != len(question.params):
            detail = f"takes {len(oids)} parameters, and there are {len(question.params)}"
            raise invalid("body/query", detail)
        try:
            bound = values.bind(question.params, oids)
        except ValueError as error:
            raise invalid("body/params", str(error)) from None
        # One more than are passed on tells whether there are more.
        self.wire.write(wire.bound(bound, question.rows_max + 1))
        await self.wire.expect(b"2")
        return wire.columns_of(data)

    async def chunks(self, writer: Writer) -> AsyncIterator[tuple[bytes, int]]:
        """The body with how many rows are in each part of it."""
        parts, size, total, counted = [writer.begin()], 0, 0, 0
        is_truncated = False
        while True:
            kind, data = await self.wire.receive(self.settings.row_bytes_max)
            if kind == b"D" and writer.row_count < self.question.rows_max:
                parts.append(writer.row(wire.values_of(data)))
                size += len(parts[-1])
            elif kind == b"D":
                is_truncated = True
            elif kind in (b"C", b"s"):
                break
            else:
                raise Broken("an answer out of order")
            if size >= CHUNK_BYTES:
                total += size
                if total > self.settings.answer_bytes_max:
                    raise TooLarge
                yield b"".join(parts), writer.row_count - counted
                parts, size, counted = [], 0, writer.row_count
                # Rows that are here already would be made into text without a pause.
                await asyncio.sleep(0)
        self.is_done = True
        parts.append(writer.end(is_truncated=is_truncated))
        yield b"".join(parts), writer.row_count - counted

    async def within(self, work: Awaitable[T]) -> T:
        """What fails here is told to the caller, who pays nothing."""
        try:
            async with asyncio.timeout_at(self.until):
                return await work
        except ServerError as error:
            raise failed(error, is_before_data=False) from None
        except TooLarge:
            raise RowsTooLarge(self.settings.row_bytes_max, self.settings.answer_bytes_max) from None
        except TimeoutError:
            raise QuerySlow(self.settings.seconds_max) from None
        except (OSError, *IMPROPER):
            raise lost() from None

    async def rest(self, chunks: AsyncIterator[tuple[bytes, int]]) -> AsyncIterator[tuple[bytes, int]]:
        """What fails here breaks the answer off: its head is out."""
        try:
            while True:
                async with asyncio.timeout_at(self.until):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                yield chunk
        except (ServerError, TooLarge, OSError, *IMPROPER) as error:
            self.outcome = cut_off(error)
            raise ConnectionAbortedError("the database's answer broke off") from None
