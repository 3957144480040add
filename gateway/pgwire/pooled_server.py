"""A pool's connection to a server, and the client that has it for now."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable
from select import POLLIN, poll
from typing import TYPE_CHECKING

from gateway.kit.sql import Statements
from gateway.pgwire import messages
from gateway.pgwire.answers import BIND, CLOSE, DESCRIBE, EXECUTE, PARSE, QUERY, Answers, Owed
from gateway.pgwire.backend import Session
from gateway.pgwire.messages import U32
from gateway.pgwire.statements import PER_SERVER_MAX, Statement
from gateway.pgwire.wire import hold, let_go

if TYPE_CHECKING:
    from gateway.pgwire.pooled import PooledClient

DATA_ROW, COPY_DATA = b"Dd"
HEAD_BYTES = 5
# All but rows is held back until it is whole; what is longer is no server's.
WHOLE_BYTES_MAX = 64 << 20

# What a client may set and a server says the value of: it is put back where another client had changed it.
RESTORED = (
    b"application_name", b"client_encoding", b"DateStyle", b"IntervalStyle", b"TimeZone", b"search_path",
    b"standard_conforming_strings", b"default_transaction_read_only",
)  # fmt: skip

# A statement is not there or is there already. A client may have said a wrong name, or we are mistaken about
# what the server has, as after a DEALLOCATE by SQL, and would be for all who come after.
OTHER_STATEMENTS = ("26000", "42P05")

SQL = Statements(__file__)

Heard = bytes | None
"""What the client gets instead of a message; None is the message itself."""


class PooledServer(asyncio.Protocol):
    def __init__(self, session: Session, on_free: "Callable[[PooledServer], None]") -> None:
        self.session = session
        self.transport = session.wire.transport
        self.on_free = on_free
        self.parameters = dict(session.parameters)
        self.answers = Answers()
        self.statements: OrderedDict[bytes, None] = OrderedDict()
        self.unnamed: Statement | None = None
        self.client: PooledClient | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.partial = b""
        self.ahead: list[bytes] = []
        self.missing = 0
        """Bytes of what began in ``partial``: they are put aside until it is whole, and joined once."""
        self.passing = 0
        """Bytes of a row that are still to come."""
        self.cancels = 0
        self.is_free = True
        """Nobody has it, and nothing is done with it."""
        self.idle_since = 0.0
        self.look = poll()
        self.look.register(self.transport.get_extra_info("socket").fileno(), POLLIN)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)
        if self.client is not None:
            self.client.server_lost()

    def pause_writing(self) -> None:
        if self.client is not None:
            hold(self.client.transport)

    def resume_writing(self) -> None:
        if self.client is not None:
            let_go(self.client.transport)

    @property
    def is_alive(self) -> bool:
        """Whether it has nothing to say: one that nobody asked anything says only that it ends."""
        return not (self.transport.is_closing() or self.over.done() or self.look.poll(0))

    def send(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def ask(self, text: str) -> None:
        """Something of our own, whose answer nobody sees."""
        self.unnamed = None
        self.is_free = False
        self.answers.expect(Owed(QUERY, is_hidden=True))
        self.send(messages.query([text]))

    def has(self, statement: Statement) -> bool:
        if not statement.name:
            return self.unnamed is statement
        if statement.name not in self.statements:
            return False
        self.statements.move_to_end(statement.name)
        return True

    def prepare(self, statement: Statement, meant: tuple[bytes, Statement] | None = None) -> bytes:
        """What makes the server have it. The client sees the answer if it is ``meant`` to have it by that."""
        if self.answers.is_skipping:
            # After an error it passes over this one too, and has nothing by it.
            return statement.parse
        self.answers.expect(Owed(PARSE, meant is None, statement.name, meant=meant))
        if not statement.name:
            self.unnamed = statement
            return statement.parse
        self.statements[statement.name] = None
        if len(self.statements) <= PER_SERVER_MAX:
            return statement.parse
        oldest, _ = self.statements.popitem(last=False)
        return statement.parse + self.drop(oldest)

    def prepare_again(self, statement: Statement, meant: tuple[bytes, Statement]) -> bytes:
        """Whether its client may have it now only the server can say, and it must not have it for that."""
        return self.drop(statement.name) + self.prepare(statement, meant)

    def drop(self, name: bytes) -> bytes:
        """Unseen. What is not there is dropped as well."""
        self.answers.expect(Owed(CLOSE, is_hidden=True))
        return messages.message(b"C", b"S" + name + b"\0")

    def data_received(self, data: bytes) -> None:
        self.missing -= len(data)
        if self.missing > 0:
            self.ahead.append(data)
            return
        if self.partial:
            data, self.partial = b"".join((self.partial, *self.ahead, data)), b""
            self.ahead.clear()
        client, said = self.client, self.read(data)
        if client is not None and said:
            client.send(said)
        self.settle()

    def settle(self) -> None:
        """It is free when both sides have said all of what they began."""
        is_between = not (self.partial or self.passing or (self.client is not None and self.client.passing))
        if is_between and self.answers.is_settled and not self.is_free:
            self.on_free(self)

    def read(self, data: bytes) -> bytes:
        """What of it is for the client. Rows are most of it, and are not looked at."""
        pieces: list[bytes] = []
        start, at, end = 0, min(self.passing, len(data)), len(data)
        self.passing -= at
        while end - at >= HEAD_BYTES:
            kind = data[at]
            after = at + 1 + U32.unpack_from(data, at + 1)[0]
            if kind in (DATA_ROW, COPY_DATA) and not self.answers.is_hiding:
                if after > end:
                    self.passing, after = after - end, end
                at = after
                continue
            if after > end or after <= at + 4:
                self.refuse_endless(after - at)
                self.missing = after - end
                break
            said = self.heard(kind, data[at + HEAD_BYTES : after])
            if said is not None:
                pieces += (data[start:at], said)
                start = after
            at = after
        pieces.append(data[start:at])
        self.partial = data[at:]
        return b"".join(pieces)

    def refuse_endless(self, size: int) -> None:
        if not HEAD_BYTES <= size <= WHOLE_BYTES_MAX:
            self.answers.is_doubtful = True
            self.transport.abort()

    def heard(self, kind: int, body: bytes) -> Heard:
        hear = HEARD.get(kind)
        if hear is not None:
            return hear(self, body)
        return b"" if self.answers.is_hiding else None

    def done(self, owed: Owed | None, kind: int, body: bytes) -> Heard:
        """The answer to it, unless nobody asked, and after it those that are made up."""
        made_up = self.answers.made_up()
        is_hidden = owed is not None and owed.is_hidden
        if not is_hidden and not made_up:
            return None
        return made_up if is_hidden else messages.HEAD.pack(bytes((kind,)), len(body) + 4) + body + made_up

    def hear_parsed(self, body: bytes) -> Heard:
        return self.done(self.answers.answered(PARSE), ord("1"), body)

    def hear_bound(self, body: bytes) -> Heard:
        return self.done(self.answers.answered(BIND), ord("2"), body)

    def hear_closed(self, body: bytes) -> Heard:
        return self.done(self.answers.answered(CLOSE), ord("3"), body)

    def hear_described(self, body: bytes) -> Heard:
        if self.answers.is_hiding:
            return b""
        return self.done(self.answers.answered(DESCRIBE), ord("T"), body)

    def hear_no_rows(self, body: bytes) -> Heard:
        return self.done(self.answers.answered(DESCRIBE), ord("n"), body)

    def hear_completed(self, body: bytes) -> Heard:
        if body in (b"DEALLOCATE ALL\0", b"DISCARD ALL\0"):
            # Those that were sent behind it are made after it.
            for name in self.statements.keys() - self.answers.awaited():
                del self.statements[name]
            self.unnamed = None
            if self.client is not None:
                self.client.prepared.clear()
        if self.answers.is_hiding:
            return b""
        return self.done(self.answers.answered(EXECUTE), ord("C"), body)

    def hear_empty(self, body: bytes) -> Heard:
        return self.done(self.answers.answered(EXECUTE), ord("I"), body)

    def hear_suspended(self, body: bytes) -> Heard:
        return self.done(self.answers.answered(EXECUTE), ord("s"), body)

    def hear_error(self, body: bytes) -> Heard:
        is_hidden = self.answers.is_hiding and self.answers.owed[0].kind == QUERY
        self.answers.is_doubtful |= is_hidden or messages.sqlstate(body) in OTHER_STATEMENTS
        for dropped in self.answers.failed():
            if dropped.meant is not None and self.client is not None:
                self.client.prepared.fail(*dropped.meant)
            if dropped.statement:
                self.statements.pop(dropped.statement, None)
            elif dropped.statement is not None:
                self.unnamed = None
        return b"" if is_hidden else None

    def hear_ready(self, body: bytes) -> Heard:
        owed = self.answers.ready(body[0])
        if owed is not None and owed.is_hidden and self.client is not None:
            self.client.restored(self.parameters)
        return self.done(owed, ord("Z"), body)

    def hear_parameter(self, body: bytes) -> Heard:
        name, value = messages.pair(body)
        self.parameters[name] = value
        if self.client is None or self.answers.is_hiding:
            return b""
        self.client.parameters[name] = value
        return None

    def hear_copy_in(self, body: bytes) -> Heard:
        self.answers.copy_in()
        return None


HEARD: dict[int, Callable[[PooledServer, bytes], Heard]] = {
    ord("1"): PooledServer.hear_parsed,
    ord("2"): PooledServer.hear_bound,
    ord("3"): PooledServer.hear_closed,
    ord("T"): PooledServer.hear_described,
    ord("n"): PooledServer.hear_no_rows,
    ord("C"): PooledServer.hear_completed,
    ord("I"): PooledServer.hear_empty,
    ord("s"): PooledServer.hear_suspended,
    ord("E"): PooledServer.hear_error,
    ord("Z"): PooledServer.hear_ready,
    ord("S"): PooledServer.hear_parameter,
    ord("G"): PooledServer.hear_copy_in,
}


def differences(wanted: dict[bytes, bytes], there: dict[bytes, bytes]) -> str:
    """What makes a server's parameters those of its next client; nothing as a rule."""
    changes = {
        name.decode(): wanted[name].decode(errors="replace")
        for name in RESTORED
        if name in wanted and name in there and wanted[name] != there[name]
    }
    return SQL.restore.replace("$1", quoted(json.dumps(changes))) if changes else ""


def quoted(text: str) -> str:
    """As E'…', which reads the same whatever the session's settings are."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
