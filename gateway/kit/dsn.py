"""Where a publisher's own PostgreSQL is and how to get in, from the connection string that it gives.

It is kept as one text: the string, and in the lines below it the certificates of those who may vouch for the
server, where these are not the public ones.
"""

import re
import ssl
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from gateway.kit.ssrf import Blocked, parse

Tls: TypeAlias = Literal["disable", "require", "verify-full"]

PORT: Final = 5432
BYTES_MAX: Final = 2048
ROOTS_BYTES_MAX: Final = 1 << 16
# libpq's names. What it would do without TLS where the server has none, is done with TLS or not at all.
MODES: Final[dict[str, Tls]] = {
    "disable": "disable",
    "require": "require",
    "verify-ca": "verify-full",
    "verify-full": "verify-full",
}
PLAIN: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
SCHEMES: Final = ("postgresql", "postgres")


@dataclass(frozen=True, slots=True)
class Dsn:
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    tls: Tls
    roots: str | None = field(default=None, repr=False)
    """PEM. None for the certificate authorities that everybody trusts."""
    socket: str | None = None
    """The Unix socket's path, for servers of ours. No string that a publisher gives leads to one."""

    @property
    def guarded_url(self) -> str:
        """Its host and port as the guard on upstreams reads them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}/"


def read(text: str) -> Dsn:
    """ValueError with a text that repeats nothing of the string: it has a password in it."""
    text, _, roots = text.partition("\n")
    if text.partition("://")[0] not in SCHEMES:
        # Before what a URL is made of: libpq's `host=… user=…` has spaces, and they are not its mistake.
        raise ValueError("is a URL like postgresql://user:password@host:5432/database")
    if len(text) > BYTES_MAX or not PLAIN.fullmatch(text):
        raise ValueError(f"is at most {BYTES_MAX} printable ASCII characters, others percent-encoded")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.fragment:
        raise ValueError("has no #; write %23 for one that belongs to a name or a password")
    user, password, database = (unquote(one or "") for one in (parts.username, parts.password, parts.path))
    database = database.removeprefix("/")
    if not host or not user or not database or any("\x00" in one for one in (user, password, database)):
        raise ValueError("names one host, a user and a database")
    made = Dsn(host, port or PORT, user, password, database, mode_of(parts.query), roots or None)
    try:
        parse(made.guarded_url)
    except Blocked as blocked:
        raise ValueError(str(blocked)) from None
    return made


def with_roots(text: str, certificates: str) -> str:
    """ValueError unless they are certificates that can vouch for a server whose name is looked at."""
    if len(certificates) > ROOTS_BYTES_MAX or not certificates.isascii():
        raise ValueError(f"is at most {ROOTS_BYTES_MAX} bytes of PEM")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificates)
    except (ssl.SSLError, ValueError):
        raise ValueError("is no certificate in PEM: -----BEGIN CERTIFICATE-----, and so on") from None
    if read(text).tls != "verify-full":
        raise ValueError("vouches for nothing without sslmode=verify-full")
    return f"{text}\n{certificates}"


def mode_of(query: str) -> Tls:
    """What is not understood is refused: it may be what keeps the connection safe."""
    mode: Tls = "verify-full"
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "sslmode" and value in MODES:
            mode = MODES[value]
        elif name not in ("channel_binding", "application_name"):
            raise ValueError("takes no parameters but sslmode (disable, require, verify-ca or verify-full)")
    return mode
