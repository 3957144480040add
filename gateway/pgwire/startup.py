"""What a client says of itself: which endpoint, database and role, and how it wants its session."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.pgwire.messages import CANCEL_REQUEST, U32, V3_0, V3_2, Fatal, negotiate, violation
from gateway.pgwire.wire import Wire

PACKET_BYTES_MAX = 10_000
CANCEL_BYTES_MAX = 12 + 256
# A label is the first part of a host name.
LABEL = re.compile(r"[a-z0-9-]{1,63}")
POOLED = "-pooler"
OWN_OPTIONS = ("endpoint", "project")
OPTION = re.compile(r"(?:\\.|[^\s\\])+", re.DOTALL)
NOT_NAMED = "Name it as the first part of the host, or by options=endpoint%3DLABEL in the connection string."


@dataclass(frozen=True, slots=True)
class Cancel:
    pid: int
    secret: bytes


@dataclass(frozen=True, slots=True)
class Startup:
    label: str
    is_pooled: bool
    role: str
    database: str
    parameters: Mapping[bytes, bytes]
    """What goes on to the database, role and database included, and what only we understand left out."""
    version: int
    unknown: Sequence[bytes]
    """Extensions of the protocol that were asked for and that nobody has."""

    @property
    def negotiation(self) -> bytes:
        """What a client is told whose protocol is newer than ours."""
        is_other = bool(self.unknown) or self.version not in (V3_0, V3_2)
        return negotiate(V3_0 if self.version == V3_0 else V3_2, self.unknown) if is_other else b""

    @property
    def has_long_key(self) -> bool:
        return self.version >= V3_2


async def read(wire: Wire, name: str | None) -> Startup | Cancel:
    length = U32.unpack(await wire.read(4))[0]
    if not 8 <= length <= PACKET_BYTES_MAX:
        raise violation("invalid length of startup packet")
    body = await wire.read(length - 4)
    version = U32.unpack_from(body)[0]
    if version == CANCEL_REQUEST:
        return canceled(body)
    if version >> 16 != 3:
        raise Fatal("0A000", f"unsupported frontend protocol {version >> 16}.{version & 0xFFFF}: it speaks 3")
    return understood(version, parameters_in(body[4:]), name)


def canceled(body: bytes) -> Cancel:
    if not 12 <= len(body) <= CANCEL_BYTES_MAX:
        raise violation("invalid length of startup packet")
    return Cancel(U32.unpack_from(body, 4)[0], body[8:])


def parameters_in(body: bytes) -> dict[bytes, bytes]:
    *parts, last = body.split(b"\0")
    # Each text ends in a zero, and an empty name ends them all.
    if last or not parts or parts.pop() or len(parts) % 2:
        raise violation("invalid startup packet layout: expected terminator as last byte")
    return dict(zip(parts[::2], parts[1::2], strict=True))


def understood(version: int, parameters: dict[bytes, bytes], name: str | None) -> Startup:
    unknown = [one for one in parameters if one.startswith(b"_pq_.")]
    for one in unknown:
        del parameters[one]
    try:
        role = parameters.get(b"user", b"").decode()
        database = (parameters.get(b"database") or parameters.get(b"user", b"")).decode()
        options = parameters.pop(b"options", b"").decode()
    except UnicodeDecodeError:
        raise Fatal("22021", "names and options in the startup packet must be UTF-8") from None
    if not role:
        raise Fatal("28000", "no PostgreSQL user name specified in startup packet")
    refuse_replication(parameters.get(b"replication", b""))
    own, left = split_options(options)
    if left:
        parameters[b"options"] = left.encode()
    label = own.get("endpoint") or own.get("project") or (name or "").partition(".")[0]
    parameters[b"database"] = database.encode()
    plain, is_pooled = label.removesuffix(POOLED), label.endswith(POOLED)
    if not LABEL.fullmatch(plain) or (name_is_address(name) and not own):
        raise Fatal("08004", "the connection does not say which endpoint it is for", NOT_NAMED)
    return Startup(plain, is_pooled, role, database, parameters, version, unknown)


def name_is_address(name: str | None) -> bool:
    return name is not None and re.fullmatch(r"[\d.]+|.*:.*", name) is not None


def refuse_replication(value: bytes) -> None:
    """A physical stream is the whole of a server, other roles' verifiers included."""
    if value.lower() not in (b"", b"database", b"false", b"off", b"no", b"0"):
        raise Fatal("0A000", "physical replication is not offered", "Logical is: replication=database.")


def split_options(options: str) -> tuple[dict[str, str], str]:
    """What is for us, and the rest as it was written. ``-c endpoint=…`` is understood as well."""
    own: dict[str, str] = {}
    left: list[str] = []
    words = OPTION.findall(options)
    for word in words:
        option, equals, value = word.removeprefix("-c").removeprefix("--").partition("=")
        if equals and option in OWN_OPTIONS:
            own.setdefault(option, value.lower())
            if left and left[-1] == "-c":
                left.pop()
        else:
            left.append(word)
    return own, " ".join(left)
