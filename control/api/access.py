"""Who is asking, and may they?"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args
from uuid import UUID

from gateway.kit import keys
from gateway.kit.problem import NotFound, Refusal, Unauthorized
from gateway.kit.sql import Db, Statements
from gateway.ledger.accounts import PLATFORM

SQL = Statements(__file__)

Permission: TypeAlias = Literal[
    "api_keys.read",
    "api_keys.write",
    "facilitator.use",
    "organizations.read",
    "platform.operate",
    "publishers.read",
    "publishers.write",
    "wallet.deposit",
    "wallet.read",
    "wallet.spend",
]
"""``wallet.spend`` is what a paid call needs; no operation of the management API spends."""

Role: TypeAlias = Literal["owner", "admin", "editor", "viewer"]

VIEWER = frozenset(one for one in get_args(Permission) if one.endswith(".read"))
EDITOR = VIEWER | {"facilitator.use", "publishers.write", "wallet.deposit", "wallet.spend"}
ADMIN = EDITOR | {"api_keys.write"}
GRANTS: dict[Role, frozenset[str]] = {"owner": ADMIN, "admin": ADMIN, "editor": EDITOR, "viewer": VIEWER}


class Forbidden(Refusal):
    status, slug, title = 403, "forbidden", "Forbidden"


@dataclass(frozen=True, slots=True)
class Actor:
    """The user behind an API key, in the key's organization, as far as the key's scopes let them."""

    organization_id: UUID
    user_id: UUID
    key_id: UUID
    mode: Literal["live", "test"]
    permissions: frozenset[str]
    is_scoped: bool


ANYONE = Actor(UUID(int=0), UUID(int=0), UUID(int=0), "test", frozenset(), is_scoped=True)


async def admit(db: Db, authorization: str, permission: Permission, organization_id: str | None) -> Actor:
    scheme, _, key = authorization.partition(" ")
    # A mistyped key fails its checksum here and costs no query.
    is_key = scheme.lower() == "bearer" and keys.is_well_formed(key)
    row = await db.fetchrow(SQL.find_actor, keys.fingerprint(key)) if is_key else None
    if row is None:
        raise Unauthorized("send a valid API key as a bearer token")
    home: UUID = row["organization_id"]
    permissions = permitted(home, row["role"], row["scopes"])
    actor = Actor(home, row["user_id"], row["id"], row["mode"], permissions, row["scopes"] is not None)
    # A foreign organization is as absent as an unknown one, whatever this key may do at home.
    if organization_id is not None and organization_id.lower() not in ("default", str(home)):
        raise NotFound(f"no organization {organization_id}")
    if permission not in permissions:
        raise Forbidden(f"this key lacks {permission}")
    return actor


def permitted(organization_id: UUID, role: Role, scopes: Iterable[str] | None) -> frozenset[str]:
    granted = GRANTS[role]
    if organization_id == PLATFORM and role in ("owner", "admin"):
        granted |= {"platform.operate"}
    return granted if scopes is None else granted & frozenset(scopes)
