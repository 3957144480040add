"""May they? Who is asking is for ``credentials`` to say, and what there is to be allowed for ``permissions``.

The organization is the one in the path, or that of the project in the path, or else the asker's own. A
session acts wherever its user is a member; a key in its own organization only, and a project's key in its
project only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from asyncpg import Record

from control.api import permissions, wire_ids
from control.api.credentials import Credential
from control.api.permissions import FOR_EVERYBODY, GRANTS, OPERATE, OWN_ACCOUNT, BuiltIn
from gateway.kit.problem import NotFound, Refusal, Unauthorized
from gateway.kit.sql import Db, Statements
from gateway.ledger.accounts import PLATFORM

SQL = Statements(__file__)


class Forbidden(Refusal):
    status, slug, title = 403, "forbidden", "Forbidden"


class PermissionNotHeld(Refusal):
    status, slug, title = 403, "permission-not-held", "Permission not held"


class Suspended(Refusal):
    status, slug, title = 403, "organization-suspended", "Organization suspended"


@dataclass(frozen=True, slots=True)
class Actor:
    """A user in an organization, as far as their role there and the scopes of what they showed let them."""

    organization_id: UUID
    user_id: UUID
    key_id: UUID
    """The API key's or the session's."""
    mode: Literal["live", "test"]
    permissions: frozenset[str]
    is_scoped: bool
    kind: Literal["key", "session"] = "key"
    project_id: UUID | None = None
    """The one that a project's key is for."""
    is_suspended: bool = False
    """Whether the organization is."""
    is_capped: bool = False
    """Whether what the key may spend is limited."""


ANYONE = Actor(UUID(int=0), UUID(int=0), UUID(int=0), "test", frozenset(), is_scoped=True)


async def admit(
    db: Db, credential: Credential, permission: str, path: Mapping[str, str] | None = None
) -> Actor:
    """``path`` has the parameters of the request's path."""
    actor = await place(db, credential, permission, path or {})
    require(actor, permission)
    return actor


def require(actor: Actor, permission: str) -> None:
    if actor.is_suspended:
        raise Suspended("the operator has suspended this organization")
    if permission not in actor.permissions:
        raise Forbidden(f"this {actor.kind} lacks {permission}")


async def place(db: Db, credential: Credential, permission: str, path: Mapping[str, str]) -> Actor:
    """Where a request acts, and what the asker may do there.

    A foreign place is as absent as an unknown one.
    """
    if credential.project_id is not None:
        return await place_project_key(db, credential, credential.project_id, path)
    home = credential.organization_id
    standing = await db.fetchrow(SQL.find_standing, home, credential.user_id)
    if standing is None:
        raise Unauthorized("this credential's user is not in its organization any more")
    if "project_id" in path:
        return await place_in_project(db, credential, path["project_id"])
    # Only the platform's organization operates the platform, wherever its people have their home.
    named = str(PLATFORM) if permission == OPERATE else path.get("organization_id", "default")
    if named == "default":
        return acting(credential, standing)
    return await place_in_organization(db, credential, named, standing, is_hidden=permission != OPERATE)


async def place_in_organization(
    db: Db, credential: Credential, named: str, home: Record, *, is_hidden: bool
) -> Actor:
    organization_id = wire_ids.read(wire_ids.ORGANIZATION, named)
    standing: Record | None = None
    if organization_id == credential.organization_id:
        standing = home
    elif organization_id is not None and credential.kind == "session":
        standing = await db.fetchrow(SQL.find_standing, organization_id, credential.user_id)
    if standing is not None:
        return acting(credential, standing)
    if is_hidden:
        raise NotFound(f"no organization {named}")
    return acting(credential, home)


async def place_in_project(db: Db, credential: Credential, named: str) -> Actor:
    project_id = wire_ids.read(wire_ids.PROJECT, named)
    standing = None
    if project_id is not None:
        standing = await db.fetchrow(SQL.find_standing_in_project, project_id, credential.user_id)
    if standing is None or (
        credential.kind == "key" and standing["organization_id"] != credential.organization_id
    ):
        raise NotFound(f"no project {named}")
    return acting(credential, standing)


async def place_project_key(
    db: Db, credential: Credential, project_id: UUID, path: Mapping[str, str]
) -> Actor:
    """Such a key acts in its project and nowhere else; elsewhere it may do nothing."""
    standing = await db.fetchrow(SQL.find_standing_in_project, project_id, credential.user_id)
    if standing is None:
        raise Unauthorized("this key's user is not in its project any more")
    named = path.get("project_id")
    if named is not None and wire_ids.read(wire_ids.PROJECT, named) != project_id:
        raise NotFound(f"no project {named}")
    where = path.get("organization_id", "default")
    if where != "default" and wire_ids.read(wire_ids.ORGANIZATION, where) != standing["organization_id"]:
        raise NotFound(f"no organization {where}")
    return acting(credential, standing, is_at_home=named is not None)


async def elsewhere(db: Db, actor: Actor, organization_id: UUID, permission: str, named: str = "") -> Actor:
    """The same asker in another organization, which the request's body or query names."""
    if organization_id == actor.organization_id:
        require(actor, permission)
        return actor
    scopes = actor.permissions if actor.is_scoped else None
    credential = Credential(
        actor.user_id, actor.key_id, actor.organization_id, actor.mode, scopes, actor.kind, actor.project_id,
        actor.is_capped,
    )  # fmt: skip
    standing: Record | None = None
    if actor.kind == "session":
        # Where they act now may be a project that they were invited to alone, and no member's organization.
        standing = await db.fetchrow(SQL.find_standing, organization_id, actor.user_id)
    if standing is None:
        raise NotFound(f"no organization {named or organization_id} of yours")
    there = acting(credential, standing)
    require(there, permission)
    return there


def may_grant(actor: Actor, wanted: Iterable[str]) -> None:
    """Nobody grants, or takes from somebody, what they do not have themselves.

    Spending without caps is more than spending with them.
    """
    held = actor.permissions - {"wallet.spend"} if actor.is_capped else actor.permissions
    if excess := sorted(set(wanted) - held):
        lack = "has spend caps, or lacks" if actor.is_capped else "lacks"
        raise PermissionNotHeld(f"this {actor.kind} {lack} {', '.join(excess)}")


def acting(credential: Credential, standing: Record, *, is_at_home: bool = True) -> Actor:
    organization_id: UUID = standing["organization_id"]
    held = granted(organization_id, standing["role"], standing["custom"])
    if standing["project_role"] is not None:
        held |= permissions.of_project(standing["project_role"])
    if not is_at_home:
        held = frozenset()
    return Actor(
        organization_id,
        credential.user_id,
        credential.id,
        credential.mode,
        narrowed(held, credential.scopes),
        is_scoped=credential.scopes is not None,
        kind=credential.kind,
        project_id=credential.project_id,
        is_suspended=standing["is_suspended"],
        is_capped=credential.is_capped,
    )


def granted(organization_id: UUID, role: BuiltIn | None, custom: Iterable[str] | None) -> frozenset[str]:
    """What a role grants to a member: a built-in one, or a custom one with the permissions it has."""
    held = frozenset(custom or ()) & GRANTS["owner"] | OWN_ACCOUNT if role is None else GRANTS[role]
    if organization_id == PLATFORM and role in ("owner", "admin"):
        held |= {OPERATE}
    return held


def narrowed(held: frozenset[str], scopes: Iterable[str] | None) -> frozenset[str]:
    return (held if scopes is None else held & frozenset(scopes)) | FOR_EVERYBODY
