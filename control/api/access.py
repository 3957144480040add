"""May they? Who is asking is for ``credentials`` to say."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args
from uuid import UUID

from control.api.credentials import Credential
from gateway.kit.problem import NotFound, Refusal, Unauthorized
from gateway.kit.sql import Db, Statements
from gateway.ledger.accounts import PLATFORM

SQL = Statements(__file__)

Permission: TypeAlias = Literal[
    "account.read",
    "account.write",
    "api_keys.read",
    "api_keys.write",
    "facilitator.use",
    "oauth.read",
    "oauth.write",
    "oauth_providers.write",
    "organizations.read",
    "permissions.read",
    "platform.operate",
    "publishers.read",
    "publishers.write",
    "wallet.deposit",
    "wallet.read",
    "wallet.spend",
    "webhooks.read",
    "webhooks.write",
]
"""``wallet.spend`` is what a paid call needs; no operation of the management API spends."""

Role: TypeAlias = Literal["owner", "admin", "editor", "viewer"]

# Whoever may do anything at all may ask who they are: a narrow key has to be able to learn that it is.
FOR_EVERYBODY = frozenset({"permissions.read"})
VIEWER = frozenset(one for one in get_args(Permission) if one.endswith(".read"))
# An account is everybody's own, whatever they may do in an organization.
VIEWER |= {"account.write"}
EDITOR = VIEWER | {"facilitator.use", "oauth.write", "publishers.write", "wallet.deposit", "wallet.spend"}
ADMIN = EDITOR | {"api_keys.write", "oauth_providers.write", "webhooks.write"}
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
    kind: Literal["key", "session"] = "key"


ANYONE = Actor(UUID(int=0), UUID(int=0), UUID(int=0), "test", frozenset(), is_scoped=True)


async def admit(db: Db, credential: Credential, permission: Permission, organization_id: str | None) -> Actor:
    """``organization_id`` is the one in the request's path, if there is one."""
    home = credential.organization_id
    role = await db.fetchval(SQL.find_role, home, credential.user_id)
    if role is None:
        raise Unauthorized("this credential's user is not in its organization any more")
    permissions = permitted(home, role, credential.scopes)
    actor = Actor(
        home,
        credential.user_id,
        credential.id,
        credential.mode,
        permissions,
        credential.scopes is not None,
        credential.kind,
    )
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
    return (granted if scopes is None else granted & frozenset(scopes)) | FOR_EVERYBODY
