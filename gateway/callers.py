"""Who calls."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

Mode: TypeAlias = Literal["live", "test"]


@dataclass(frozen=True, slots=True)
class Caller:
    """An organization known by its key, or somebody who is known only by what they pay with."""

    organization_id: UUID | None
    key_id: UUID | None
    mode: Mode | None
    is_capped: bool = False
    user_id: UUID | None = None
    """Who holds the key."""
    token: str | None = field(default=None, repr=False)
    """The caller's own, for the upstream that acts in their name."""
    blocked_until: datetime | None = None
    """Until then the calls of its organization's plan are used up; None while there are some left."""
    expires_at: datetime | None = None
    """When its key is over."""
