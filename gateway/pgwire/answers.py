"""What a server still owes: the answers to what was sent to it, in their order, and who is to see them.

A pooled client's messages are not always a server's. Some it is not sent, because it has that statement
already, and some it is sent that nobody asked for; so which answer belongs to which message has to be known,
and whether there are any left before the server is somebody else's.
"""

from collections import deque
from dataclasses import dataclass

from gateway.pgwire.statements import Statement

PARSE, BIND, DESCRIBE, CLOSE, EXECUTE, SYNC, QUERY = b"PBDCESQ"
COPY_END = ord("c")
MADE_UP = 0

IDLE, FAILED = b"IE"


@dataclass(frozen=True, slots=True)
class Owed:
    kind: int
    is_hidden: bool = False
    """The client did not ask, and does not see the answer."""
    statement: bytes | None = None
    """Of a Parse: what the server will not have if that fails; an empty name is one too."""
    answer: bytes = b""
    """Of what the server was not asked."""
    meant: tuple[bytes, Statement] | None = None
    """Of a Parse: what its client calls the statement, and will not have if that fails."""


class Answers:
    def __init__(self) -> None:
        self.owed: deque[Owed] = deque()
        self.ends_owed = 0
        """Of what is owed, how many answers end with a status that is not known yet."""
        self.status = IDLE
        self.is_copying = False
        """The server reads a COPY, and passes over what else it is sent."""
        self.is_skipping = False
        """The server has told an error, and passes over everything until a Sync."""
        self.is_ready = True
        """The last that was answered was a Sync or a Query, and nothing was asked since."""
        self.is_doubtful = False
        """Something came that was not expected: nobody else shall have this server."""

    @property
    def is_settled(self) -> bool:
        """Nothing is owed or begun: the next client would find it as the one before did."""
        is_busy = self.owed or self.is_copying or self.is_skipping
        return self.is_ready and self.status == IDLE and not is_busy

    @property
    def may_have_failed(self) -> bool:
        """The transaction: then nothing is prepared before its end, whoever had the statement already."""
        return self.status == FAILED or self.ends_owed > 0

    @property
    def is_hiding(self) -> bool:
        return bool(self.owed) and self.owed[0].is_hidden

    def awaited(self) -> set[bytes]:
        """The names of statements that the server is still to make."""
        return {one.statement for one in self.owed if one.statement}

    def expect(self, owed: Owed) -> None:
        if owed.kind != COPY_END:
            # Outside of a copy its end is passed over.
            self.is_ready = False
        if owed.kind == SYNC:
            if self.is_copying:
                # Passed over, if the copy does not fail before: whether an answer comes is anybody's guess.
                self.is_doubtful = True
                return
            self.is_skipping = False
        elif owed.kind == COPY_END:
            if self.is_copying:
                self.is_copying = False
                return
        elif self.is_skipping:
            return
        self.owed.append(owed)
        self.ends_owed += ends(owed)

    def made_up(self) -> bytes:
        """The answers that are due now and that no server gives."""
        due = []
        while self.owed and self.owed[0].kind in (MADE_UP, COPY_END):
            due.append(self.owed.popleft().answer)
        return b"".join(due)

    def answered(self, *kinds: int) -> Owed | None:
        """The server has done with the first that is owed, if it is one of these."""
        if self.owed and self.owed[0].kind in kinds:
            return self.owed.popleft()
        return None

    def ready(self, status: int) -> Owed | None:
        self.status, self.is_ready = status, True
        self.is_copying = False
        while self.owed:
            found = self.owed.popleft()
            self.ends_owed -= ends(found)
            if found.kind in (SYNC, QUERY):
                return found
            # It was passed over without a word.
            self.is_doubtful = True
        self.is_doubtful = True
        return None

    def failed(self) -> list[Owed]:
        """What was sent up to the next Sync is not done. A Query ends by itself."""
        self.is_copying = False
        dropped: list[Owed] = []
        if not self.owed or self.owed[0].kind == QUERY:
            return dropped
        while self.owed and self.owed[0].kind != SYNC:
            dropped.append(self.owed.popleft())
            self.ends_owed -= ends(dropped[-1])
            # It still has a statement that we took for closed.
            self.is_doubtful |= dropped[-1].kind == CLOSE and dropped[-1].is_hidden
        self.is_skipping = not self.owed
        return dropped

    def copy_in(self) -> None:
        """What was sent between the command and the end of its data is passed over, Syncs included."""
        if not self.owed:
            self.is_doubtful = True
            return
        command, *rest = self.owed
        end = next((at for at, one in enumerate(rest) if one.kind == COPY_END), None)
        if end is None:
            self.is_copying = True
            rest = []
        else:
            rest = rest[end + 1 :]
        self.owed = deque((command, *rest))
        self.ends_owed = sum(map(ends, self.owed))


def ends(owed: Owed) -> bool:
    """Our own questions are asked outside of a transaction."""
    return owed.kind in (SYNC, QUERY) and not owed.is_hidden
