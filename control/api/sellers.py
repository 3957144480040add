"""A publisher by the slug in a path, for operations whose path names no organization."""

from dataclasses import dataclass
from uuid import UUID

from control.api import access
from control.api.operation import Call
from gateway.kit.problem import NotFound, Refusal
from gateway.kit.sql import Statements

SQL = Statements(__file__)


class PublisherSuspended(Refusal):
    status, slug, title = 403, "publisher-suspended", "Publisher suspended"


@dataclass(frozen=True, slots=True)
class Seller:
    id: UUID
    organization_id: UUID
    slug: str
    name: str
    is_first_party: bool
    is_suspended: bool

    def require_standing(self) -> None:
        if self.is_suspended:
            raise PublisherSuspended("the operator has suspended this publisher")


async def seller(call: Call, slug: str, permission: str) -> Seller:
    """Whoever asks may do this for the publisher's organization; a foreign publisher is as absent as none."""
    row = await call.db.fetchrow(SQL.by_slug, slug)
    if row is None:
        raise NotFound(f"no publisher {slug}")
    found = Seller(**dict(row))
    try:
        await access.elsewhere(call.db, call.actor, found.organization_id, permission)
    except NotFound:
        raise NotFound(f"no publisher {slug}") from None
    return found
