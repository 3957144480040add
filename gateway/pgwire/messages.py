"""PostgreSQL's messages as bytes: what is written, and the little that is read of what passes."""

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct
from typing import Final

U32: Final = Struct("!I")
HEAD: Final = Struct("!cI")
"""A message's type and its length, which counts itself and not the type."""

AUTHENTICATION, ERROR, NOTICE, READY, KEY_DATA, PARAMETER = b"R", b"E", b"N", b"Z", b"K", b"S"
NEGOTIATE, PASSWORD = b"v", b"p"

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
V3_0, V3_2 = 196608, 196610

OK, SASL, SASL_CONTINUE, SASL_FINAL = 0, 10, 11, 12


TOO_MANY = "53300"


class Fatal(Exception):
    """Why a connection ends, as PostgreSQL would say it: a SQLSTATE, a sentence, and what to do about it."""

    def __init__(self, sqlstate: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.sqlstate, self.hint = sqlstate, hint

    def written(self) -> bytes:
        return error(self.sqlstate, str(self), self.hint)


class Gone(Exception):
    """The other side hung up; there is nobody to be told anything."""


def violation(message: str) -> Fatal:
    return Fatal("08P01", message)


def message(kind: bytes, body: bytes = b"") -> bytes:
    return HEAD.pack(kind, len(body) + 4) + body


def error(sqlstate: str, text: str, hint: str = "") -> bytes:
    fields = {"S": "FATAL", "V": "FATAL", "C": sqlstate, "M": text, "H": hint}
    body = b"".join(name.encode() + value.encode() + b"\0" for name, value in fields.items() if value)
    return message(ERROR, body + b"\0")


def authentication(kind: int, body: bytes = b"") -> bytes:
    return message(AUTHENTICATION, U32.pack(kind) + body)


def parameter(name: bytes, value: bytes) -> bytes:
    return message(PARAMETER, name + b"\0" + value + b"\0")


def ready(status: bytes = b"I") -> bytes:
    return message(READY, status)


def key_data(pid: int, secret: bytes) -> bytes:
    return message(KEY_DATA, U32.pack(pid) + secret)


def startup(parameters: Mapping[bytes, bytes]) -> bytes:
    body = b"".join(name + b"\0" + value + b"\0" for name, value in parameters.items()) + b"\0"
    return U32.pack(len(body) + 8) + U32.pack(V3_0) + body


def cancel(pid: int, secret: bytes) -> bytes:
    return U32.pack(12 + len(secret)) + U32.pack(CANCEL_REQUEST) + U32.pack(pid) + secret


def negotiate(version: int, unknown: Sequence[bytes]) -> bytes:
    names = b"".join(name + b"\0" for name in unknown)
    return message(NEGOTIATE, U32.pack(version) + U32.pack(len(unknown)) + names)


def query(texts: Iterable[str]) -> bytes:
    return message(b"Q", "; ".join(texts).encode() + b"\0")


def pair(body: bytes) -> tuple[bytes, bytes]:
    """The name and the value in a ParameterStatus."""
    name, _, value = body.partition(b"\0")
    return name, value.rstrip(b"\0")


def sqlstate(body: bytes) -> str:
    """Which error it is, of the body of an ErrorResponse."""
    for field in body.split(b"\0"):
        if field[:1] == b"C":
            return field[1:].decode(errors="replace")
    return ""
