"""A client of a pool: it has a server while it needs one, for a transaction or for its whole session."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.pgwire import messages, statements
from gateway.pgwire.answers import BIND, CLOSE, COPY_END, DESCRIBE, EXECUTE, MADE_UP, QUERY, SYNC, Owed
from gateway.pgwire.messages import HEAD, U32, Fatal, violation
from gateway.pgwire.pooled_server import HEAD_BYTES, PooledServer, differences
from gateway.pgwire.statements import Prepared, Statement
from gateway.pgwire.wire import Wire, hold, let_go, part

if TYPE_CHECKING:
    from gateway.pgwire.pools import Pool

TERMINATE, SIMPLE = b"XQ"
PARSED = messages.message(b"1")
CLOSED = messages.message(b"3")
# An unnamed statement that is longer belongs to the batch that it came with.
UNNAMED_BYTES_MAX = 1 << 16
NAMES_BYTES_MAX = 1 << 16


class PooledClient(asyncio.Protocol):
    def __init__(self, wire: Wire, pool: "Pool", parameters: dict[bytes, bytes]) -> None:
        self.wire = wire
        self.transport = wire.transport
        self.pool = pool
        self.parameters = parameters
        """What its session has, of what a server says the value of."""
        self.prepared = Prepared(pool.shelf)
        self.server: PooledServer | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer = b""
        self.ahead: list[bytes] = []
        self.missing = 0
        """Bytes of a message that is looked at when it is whole. Until then they are only put aside: whoever
        sends a long one in many pieces would have us copy it with each of them."""
        self.passing = 0
        self.is_waiting = self.is_choked = False
        self.moved = (0, 0)
        self.told = ""
        """The SQLSTATE that ended it, where we did."""
        self.patience: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        self.wire.hand_over(self)
        if not self.wire.is_lost:
            await self.over

    @property
    def is_idle(self) -> bool:
        return self.server is None and not self.is_waiting

    def end(self, why: Fatal) -> None:
        if not self.transport.is_closing():
            self.told = why.sqlstate
            # In the middle of a row there is no place for another message.
            if self.server is None or not (self.server.passing or self.server.partial):
                self.transport.write(why.written())
            part(self.transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.pool.left(self)
        if not self.over.done():
            self.over.set_result(None)

    def server_lost(self) -> None:
        """In the middle of what it was doing. Why, the server has said itself."""
        self.server = None
        part(self.transport)

    def pause_writing(self) -> None:
        self.is_choked = True
        if self.server is not None:
            hold(self.server.transport)

    def resume_writing(self) -> None:
        self.is_choked = False
        if self.server is not None:
            let_go(self.server.transport)

    def send(self, data: bytes) -> None:
        self.moved = self.moved[0], self.moved[1] + len(data)
        if not self.transport.is_closing():
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self.moved = self.moved[0] + len(data), self.moved[1]
        self.missing -= len(data)
        if self.missing > 0:
            self.ahead.append(data)
            return
        self.buffer = b"".join((self.buffer, *self.ahead, data))
        self.ahead.clear()
        if self.server is not None:
            server = self.server
            self.forward(server)
            server.settle()
        elif self.buffer[0] == TERMINATE:
            part(self.transport)
        elif not self.is_waiting and len(self.buffer) >= HEAD_BYTES:
            self.is_waiting = True
            hold(self.transport)
            self.pool.serve(self)

    def given(self, server: PooledServer) -> None:
        self.is_waiting = server.is_free = False
        if self.patience is not None:
            self.patience.cancel()
        self.server, server.client = server, self
        if self.is_choked:
            hold(server.transport)
        if text := differences(self.parameters, server.parameters):
            server.ask(text)
        self.forward(server)
        let_go(self.transport)
        # It may have been sent nothing that is answered.
        asyncio.get_running_loop().call_soon(server.settle)

    def taken(self) -> None:
        """Its server is somebody else's now."""
        server, self.server = self.server, None
        if server is not None:
            server.client = None
            let_go(server.transport)
            # It may have been held because the server did not take what it sent, as after a COPY that failed.
            let_go(self.transport)

    def restored(self, parameters: dict[bytes, bytes]) -> None:
        """The server has them as we asked, in its own spelling."""
        self.parameters.update((name, parameters[name]) for name in self.parameters if name in parameters)

    def forward(self, server: PooledServer) -> None:
        out: list[bytes] = []
        try:
            self.buffer = self.buffer[self.read(server, self.buffer, out) :]
        except Fatal as error:
            self.end(error)
            self.pool.left(self)
            return
        if out:
            server.send(b"".join(out))
        if due := server.answers.made_up():
            self.send(due)

    def read(self, server: PooledServer, data: bytes, out: list[bytes]) -> int:
        """Everything that is here of it, up to where it ends or something more is wanted."""
        end = len(data)
        at = min(self.passing, end)
        self.passing -= at
        if at:
            out.append(data[:at])
        while end - at >= HEAD_BYTES:
            kind, length = data[at], U32.unpack_from(data, at + 1)[0]
            hear = RAW.get(kind) if self.pool.is_session else HEARD.get(kind)
            if hear is None or length < 4:
                raise violation(f"invalid frontend message type {kind}")
            step = hear(self, server, data[at : at + 1 + length], length + 1, out)
            if step < 0:
                self.missing = -step - (end - at)
                break
            at += step
            if at > end:
                self.passing, at = at - end, end
        return at

    def pass_on(self, server: PooledServer, data: bytes, size: int, out: list[bytes]) -> int:
        """``data`` is what is here of ``size`` bytes; the rest follows without being looked at."""
        out.append(data)
        kind = ANSWERED_AS.get(data[0])
        if data[0] == SIMPLE and not server.answers.is_skipping:
            # It ends the unnamed statement, at this server as at any other.
            self.prepared.forget(b"")
        if kind is not None:
            server.answers.expect(Owed(kind))
        if kind == QUERY:
            server.unnamed = None
        return size

    def hear_end(self, server: PooledServer, data: bytes, size: int, out: list[bytes]) -> int:
        part(self.transport)
        return size

    def hear_parse(self, server: PooledServer, data: bytes, size: int, out: list[bytes]) -> int:
        if server.answers.is_skipping:
            # Passed over, so that nothing is known by its name.
            out.append(data)
            return size
        if size > UNNAMED_BYTES_MAX and data[HEAD_BYTES : HEAD_BYTES + 1] == b"\0":
            server.unnamed = statements.unnamed(b"")
            self.prepared.keep(b"", server.unnamed)
            server.answers.expect(Owed(data[0], statement=b"", meant=(b"", server.unnamed)))
            out.append(data)
            return size
        if len(data) < size:
            self.prepared.wait_for(size)
            return wait_for(size, statements.BYTES_MAX)
        name, at = statements.split(data, HEAD_BYTES)
        body = data[at:]
        statement = statements.named(body) if name else statements.unnamed(body)
        self.prepared.keep(name, statement)
        meant = name, statement
        if not server.has(statement):
            out.append(server.prepare(statement, meant))
        elif server.answers.may_have_failed:
            out.append(server.prepare_again(statement, meant))
        else:
            server.answers.expect(Owed(MADE_UP, answer=PARSED, meant=meant))
        return size

    def hear_bind(self, server: PooledServer, data: bytes, size: int, out: list[bytes]) -> int:
        """Its values may be long, so that only the names before them are waited for."""
        portal_end = data.find(b"\0", HEAD_BYTES) + 1
        name_end = data.find(b"\0", portal_end) + 1 if portal_end else 0
        if not name_end:
            return wait_for(min(size, len(data) + 1), NAMES_BYTES_MAX) if len(data) < size else refuse_name()
        name = data[portal_end : name_end - 1]
        known = self.ensure(server, name, out)
        length = size - 1 + len(known) - len(name)
        out.append(HEAD.pack(b"B", length) + data[HEAD_BYTES:portal_end] + known + data[name_end - 1 :])
        server.answers.expect(Owed(BIND))
        return size

    def hear_describe(self, server: PooledServer, data: bytes, size: int, out: list[bytes]) -> int:
        if len(data) < size:
            return wait_for(size, NAMES_BYTES_MAX)
        kind = data[HEAD_BYTES : HEAD_BYTES + 1]
        if kind == b"S":
            name, _ = statements.split(data, HEAD_BYTES + 1)
            data = messages.message(b"D", kind + self.ensure(server, name, out) + b"\0")
        out.append(data)
        server.answers.expect(Owed(DESCRIBE))
        return size

    def hear_close(self, server: PooledServer, data: bytes, size: int, out: list[bytes]) -> int:
        if len(data) < size:
            return wait_for(size, NAMES_BYTES_MAX)
        if data[HEAD_BYTES : HEAD_BYTES + 1] == b"S":
            name, _ = statements.split(data, HEAD_BYTES + 1)
            self.prepared.forget(name)
            if name:
                # The server keeps it: somebody else may call it something else.
                server.answers.expect(Owed(MADE_UP, answer=CLOSED))
                return size
            server.unnamed = None
        out.append(data)
        server.answers.expect(Owed(CLOSE))
        return size

    def ensure(self, server: PooledServer, name: bytes, out: list[bytes]) -> bytes:
        """What this server knows a client's statement by; it has it from now on."""
        statement: Statement | None = self.prepared.by_name.get(name)
        if statement is not None and server.has(statement):
            return statement.name
        if statement is not None and statement.body:
            out.append(server.prepare(statement))
            return statement.name
        if not name:
            # Whoever had the server before may have left one, which is nobody else's.
            out.append(server.drop(b""))
            server.unnamed = None
        # One made by SQL, or none: the server says which.
        return name


def wait_for(size: int, size_max: int) -> int:
    """So many bytes of the message have to be here: as a step, which goes nowhere."""
    if size > size_max:
        raise Fatal("54000", "a message is too long for a pooled connection", "Connect without -pooler.")
    return -size


def refuse_name() -> int:
    raise violation("a name in a message has no end")


ANSWERED_AS = {
    ord("Q"): QUERY, ord("F"): QUERY, ord("S"): SYNC, ord("E"): EXECUTE, ord("c"): COPY_END,
    ord("f"): COPY_END, ord("P"): ord("P"), ord("B"): BIND, ord("D"): DESCRIBE, ord("C"): CLOSE,
}  # fmt: skip

Hear = Callable[[PooledClient, PooledServer, bytes, int, list[bytes]], int]
RAW: dict[int, Hear] = {
    **{ord(kind): PooledClient.pass_on for kind in "QFSEcfHdPBDC"},
    TERMINATE: PooledClient.hear_end,
}
HEARD: dict[int, Hear] = {
    **RAW,
    ord("P"): PooledClient.hear_parse,
    ord("B"): PooledClient.hear_bind,
    ord("D"): PooledClient.hear_describe,
    ord("C"): PooledClient.hear_close,
}
