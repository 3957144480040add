"""Who is asking? What somebody may do is for ``access`` to say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from control.api import permissions
from gateway.kit import keys
from gateway.kit.problem import Unauthorized
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Credential:
    """A user, and what they showed to be known by."""

    user_id: UUID
    id: UUID
    """The API key's."""
    organization_id: UUID
    """Where they act when a request names no organization."""
    mode: Literal["live", "test"]
    scopes: frozenset[str] | None
    """None where it may do whatever its user may."""
    kind: Literal["key", "session"] = "key"
    project_id: UUID | None = None
    """The only one that it acts in, for a project's key."""


async def present(db: Db, headers: Mapping[str, str]) -> Credential:
    """Raise ``Unauthorized`` for a request that shows nothing valid."""
    scheme, _, key = headers.get("Authorization", "").partition(" ")
    # A mistyped key fails its checksum here and costs no query.
    is_key = scheme.lower() == "bearer" and keys.is_well_formed(key)
    row = await db.fetchrow(SQL.find_key, keys.fingerprint(key)) if is_key else None
    if row is None:
        raise Unauthorized("send a valid API key as a bearer token")
    scopes = None if row["scopes"] is None else frozenset(row["scopes"])
    if row["project_role"] is not None:
        scopes = permissions.of_project(row["project_role"])
    return Credential(
        row["user_id"], row["id"], row["organization_id"], row["mode"], scopes, "key", row["project_id"]
    )
