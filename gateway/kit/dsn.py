"""Where a publisher's own PostgreSQL is and how to get in, from the connection string that it gives."""

import re
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from gateway.kit.ssrf import Blocked, parse

Tls: TypeAlias = Literal["disable", "require", "verify-full"]

PORT: Final = 5432
BYTES_MAX: Final = 2048
# libpq's names. What it would do without TLS where the server has none, is done with TLS or not at all.
MODES: Final[dict[str, Tls]] = {
    "disable": "disable",
    "require": "require",
    "verify-ca": "verify-full",
    "verify-full": "verify-full",
}
PLAIN: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Dsn:
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    tls: Tls

    @property
    def guarded_url(self) -> str:
        """Its host and port as the guard on upstreams reads them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}/"


def read(text: str) -> Dsn:
    """ValueError with a text that repeats nothing of the string: it has a password in it."""
    if len(text) > BYTES_MAX or not PLAIN.fullmatch(text):
        raise ValueError(f"is at most {BYTES_MAX} printable ASCII characters, others percent-encoded")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in ("postgresql", "postgres") or parts.fragment:
        raise ValueError("is a URL like postgresql://user:password@host:5432/database")
    user, password, database = (unquote(one or "") for one in (parts.username, parts.password, parts.path))
    database = database.removeprefix("/")
    if not host or not user or not database or any("\x00" in one for one in (user, password, database)):
        raise ValueError("names one host, a user and a database")
    made = Dsn(host, port or PORT, user, password, database, mode_of(parts.query))
    try:
        parse(made.guarded_url)
    except Blocked as blocked:
        raise ValueError(str(blocked)) from None
    return made


def mode_of(query: str) -> Tls:
    """What is not understood is refused: it may be what keeps the connection safe."""
    mode: Tls = "verify-full"
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "sslmode" and value in MODES:
            mode = MODES[value]
        elif name not in ("channel_binding", "application_name"):
            raise ValueError("takes no parameters but sslmode (disable, require, verify-ca or verify-full)")
    return mode
