"""People, agents and their organizations: the only writer of these tables."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from gateway.kit import ids
from gateway.kit.sql import Db, Statements

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Newcomer:
    user_id: UUID
    organization_id: UUID
    created_at: datetime


async def create(db: Db, kind: Literal["person", "agent"], name: str, email: str | None) -> Newcomer:
    """Create somebody, with a personal organization that they own."""
    user_id, organization_id = ids.new(), ids.new()
    slug = slug_of(name, organization_id)
    created_at = await db.fetchval(SQL.create, user_id, kind, name, email, organization_id, slug)
    assert isinstance(created_at, datetime), "without ON CONFLICT, an INSERT returns its row"
    return Newcomer(user_id, organization_id, created_at)


def slug_of(name: str, organization_id: UUID) -> str:
    """A readable slug; its end is from the id's random bits, so nobody can take it first."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-")
    return "-".join(filter(None, [words, organization_id.hex[-12:]]))
