"""How clients connect: URIs that libpq, and whatever reads its URIs, understands."""

from dataclasses import dataclass
from urllib.parse import quote, urlsplit
from uuid import UUID

from control.postgres import passwords
from gateway.kit.crypto import Keyring
from gateway.kit.problem import NotFound
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)

POOLED = "-pooler"
EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Reach:
    """Where the wire proxy is. With a domain each endpoint has a host name of its own there."""

    host: str
    port: int
    domain: str | None = None

    def host_of(self, label: str, *, is_pooled: bool = False) -> str:
        return f"{named(label, is_pooled=is_pooled)}.{self.domain}" if self.domain else self.host

    def uri(
        self,
        label: str,
        role: str = "app",
        database: str = "app",
        *,
        password: str | None = None,
        is_pooled: bool = False,
    ) -> str:
        who = quote(role, safe="") + ("" if password is None else f":{quote(password, safe='')}")
        host = self.host_of(label, is_pooled=is_pooled)
        host = f"[{host}]" if ":" in host else host
        # Without a name of its own the endpoint is told apart by an option, which libpq sends on.
        rest = "sslmode=require" if self.domain else f"options=endpoint%3D{named(label, is_pooled=is_pooled)}"
        return f"postgresql://{who}@{host}:{self.port}/{quote(database, safe='')}?{rest}"


def named(label: str, *, is_pooled: bool) -> str:
    return label + POOLED if is_pooled else label


def reach_of(origin: str, host: str, port: int, domain: str | None) -> Reach:
    """``origin`` is where this API is, beside which the proxy is unless it has a host that clients reach.

    A loopback address is one only for those who reach this API by such a one too.
    """
    beside = urlsplit(origin).hostname or "localhost"
    meaningless = EVERYWHERE if beside in LOOPBACK else EVERYWHERE | LOOPBACK
    return Reach(beside if host in meaningless else host, port, domain)


async def uri(
    db: Db,
    keyring: Keyring,
    reach: Reach,
    project_id: UUID,
    branch_id: UUID,
    *,
    endpoint_id: UUID | None = None,
    role: str | None = None,
    database: str | None = None,
    is_pooled: bool = False,
) -> str:
    """With the role's password, where that is known."""
    way = await db.fetchrow(SQL.way, project_id, branch_id, endpoint_id)
    if way is None:
        has_none = "no such branch has an endpoint: POST …/branches/{branch_id}/endpoints makes one"
        raise NotFound(has_none if endpoint_id is None else "the branch has no such endpoint")
    found = await db.fetchrow(SQL.role, branch_id, role)
    if found is None:
        raise NotFound(f"the branch has no role {role or 'that owns it'}")
    name = await db.fetchval(SQL.database, branch_id, database)
    if name is None:
        raise NotFound(f"the branch has no database {database or 'at all'}")
    password = passwords.opened(keyring, project_id, found["id"], found["password"])
    return reach.uri(way["label"], found["name"], name, password=password, is_pooled=is_pooled)
