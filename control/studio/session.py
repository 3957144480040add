"""A session with a project's database, as the role that owns it, which reads no more than it may.

Everything travels as text over ``Wire``, which looks at a row's size before it reads it. The settings are the
session's own, so that nothing a tenant sets for the role gets around them.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from control.computes.provider import ComputeUnavailable
from control.postgres.connecting import Owner
from control.studio import rules
from control.studio.refusals import STATEMENT_SECONDS, ResultTooLarge, SessionRefused, TooSlow, refusal_of
from gateway.kit.dsn import Dsn
from gateway.kit.problem import invalid
from gateway.upstreams import postgres_wire as wire
from gateway.upstreams.postgres_wire import Broken, ServerError, TooLarge, Wire

# What the server does not stop by itself, as a statement that raises its own limit, is stopped here.
GRACE_SECONDS = 1
OPEN_SECONDS = 20
BYTES_MAX = 8 << 20
# Of rows that a script's earlier statements return, and nobody is shown.
PASSED_OVER_BYTES_MAX = 64 << 20
SETTINGS: Mapping[str, str] = {
    "application_name": "farebox studio",
    "statement_timeout": str(STATEMENT_SECONDS * 1000),
    "lock_timeout": "2000",
    "idle_in_transaction_session_timeout": "10000",
    # A server that computes finds out within a second that nobody waits any more.
    "client_connection_check_interval": "1000",
    "datestyle": "ISO, YMD",
    "intervalstyle": "iso_8601",
    "timezone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
}
SEARCH_PATH = '"$user", public'
SEVERAL = "42601"


@dataclass(slots=True)
class Result:
    columns: list[tuple[str, int]] = field(default_factory=list)
    rows: list[list[str | None]] = field(default_factory=list)
    tag: str = ""
    is_truncated: bool = False
    size: int = 0

    def add(self, data: bytes, rows_max: int) -> None:
        if len(self.rows) >= rows_max:
            self.is_truncated = True
            return
        self.size += len(data)
        if self.size > BYTES_MAX:
            raise TooLarge
        self.rows.append(wire.values_of(data))

    def end(self, tag: bytes) -> None:
        self.tag = tag.rstrip(b"\0").decode(errors="replace")

    @property
    def count(self) -> int:
        """Of rows that were changed, or returned."""
        last = self.tag.rpartition(" ")[2]
        return int(last) if last.isdecimal() and not self.columns else len(self.rows)

    @property
    def command(self) -> str:
        return self.tag.rstrip("0123456789 ")


class Session:
    def __init__(self, connection: Wire) -> None:
        self.wire = connection
        self.is_committing = False

    async def run(
        self, statement: str, given: Sequence[Any] = (), arrays: Sequence[bool] = (), rows_max: int = 10_000
    ) -> Result:
        """One statement. ``given`` are its parameters, which the server casts to what it finds they are."""
        self.wire.write(wire.asked(statement))
        await self.wire.expect(b"1")
        oids = wire.types_of(await self.wire.expect(b"t"))
        kind, data = await self.wire.receive()
        result = Result(wire.columns_of(data) if kind == b"T" else [])
        if len(oids) != len(given):
            raise invalid("body/sql", "has parameters, and there is nothing to put there")
        try:
            texts = rules.bound(given, oids, arrays or [False] * len(given))
        except ValueError as error:
            raise invalid("body", str(error)) from None
        # One more than are wanted tells whether there are more.
        self.wire.write(wire.bound(texts, rows_max + 1))
        await self.wire.expect(b"2")
        await self.read(result, rows_max)
        await self.synchronize()
        return result

    async def read(self, result: Result, rows_max: int) -> None:
        while True:
            kind, data = await self.wire.receive(BYTES_MAX)
            if kind == b"D":
                result.add(data, rows_max)
            elif kind == b"C":
                return result.end(data)
            elif kind in (b"s", b"I"):
                # It stopped at the limit; or there was nothing to be done.
                return result.end(b"SELECT" if kind == b"s" else b"")
            else:
                raise copying()

    async def synchronize(self) -> None:
        self.wire.write(wire.message(b"S"))
        await self.until_ready()

    async def until_ready(self) -> None:
        while True:
            kind, _ = await self.wire.receive()
            if kind == b"Z":
                return

    async def script(self, statements: str, rows_max: int) -> Result:
        """Several at once. What the last of them returns is the result."""
        self.wire.write(wire.message(b"Q", wire.text(statements)))
        result, size = Result(), 0
        while True:
            kind, data = await self.wire.receive(BYTES_MAX)
            if kind == b"Z":
                return result
            if kind == b"T":
                result = Result(wire.columns_of(data))
            elif kind == b"D":
                size += len(data)
                if size > PASSED_OVER_BYTES_MAX:
                    raise TooLarge
                result.add(data, rows_max)
            elif kind == b"C":
                # Of a statement that returns no rows there was no description.
                result = Result() if result.tag else result
                result.end(data)
            elif kind != b"I":
                raise copying()

    async def query(self, statement: str, rows_max: int) -> Result:
        """Whatever it is: one statement stops at so many rows, several are run as they are."""
        try:
            return await self.run(statement, rows_max=rows_max)
        except ServerError as error:
            # A statement that cannot be read has a place where it cannot; several that can have none.
            if error.state != SEVERAL or "P" in error.fields:
                raise
        await self.synchronize()
        await self.script("ROLLBACK; BEGIN", 0)
        return await self.script(statement, rows_max)

    async def commit(self) -> None:
        self.is_committing = True
        await self.script("COMMIT", 0)

    async def stop(self) -> None:
        await self.wire.cancel()
        self.wire.close()


def copying() -> Exception:
    return invalid("body/sql", "COPY to and from a client is not possible here")


async def connect(owner: Owner, database: str, *, is_raw: bool) -> Session:
    """The search path is the tenant's own for statements that they write, and nothing else's."""
    settings = {**SETTINGS, **owner.address.parameters}
    if not is_raw:
        settings["search_path"] = SEARCH_PATH
    address = owner.address
    socket = str(address.socket)
    dsn = Dsn("localhost", address.port, owner.name, owner.password, database, "disable", socket=socket)
    session = Session(Wire(None, dsn, settings))
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            await session.wire.open()
        return session
    except ServerError as error:
        session.wire.close()
        raise refused(error) from None
    except BaseException as error:
        session.wire.close()
        if isinstance(error, Broken | OSError | TimeoutError | asyncio.IncompleteReadError):
            raise ComputeUnavailable("the database cannot be reached just now") from None
        raise


@asynccontextmanager
async def within(session: Session, *, is_raw: bool) -> AsyncIterator[None]:
    """A transaction, which is undone unless whoever entered commits it. The session ends with it."""
    try:
        async with asyncio.timeout(STATEMENT_SECONDS + GRACE_SECONDS):
            await session.script("BEGIN", 0)
            yield
        session.wire.end()
    except (TimeoutError, Broken, OSError, asyncio.IncompleteReadError) as error:
        if session.is_committing:
            raise ComputeUnavailable("the database went away, and may have done it or not") from None
        if not isinstance(error, TimeoutError):
            raise ComputeUnavailable("the database went away, and nothing was changed") from None
        await session.stop()
        raise TooSlow(STATEMENT_SECONDS) from None
    except ServerError as error:
        raise refusal_of(error, is_raw=is_raw) from None
    except TooLarge:
        raise ResultTooLarge(BYTES_MAX) from None
    finally:
        session.wire.close()


def refused(error: ServerError) -> Exception:
    """A server that is starting, stopping or full, or a role that may not log in any more."""
    if error.state.startswith(("53", "57", "08")):
        return ComputeUnavailable("the database takes no more sessions just now")
    return SessionRefused(error.fields.get("M", "")[:300])
