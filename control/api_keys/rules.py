"""Which keys a key may make."""

from collections.abc import Sequence
from uuid import UUID

from control.api.access import Actor, Role, permitted
from control.api_keys.models import Mode


def excess(actor: Actor, organization_id: UUID, role: Role, scopes: Sequence[str] | None) -> list[str]:
    """What a key for a user of this role would have beyond its maker's own permissions."""
    # A key without scopes follows its user to a higher role; a narrowed maker may not make one that outgrows
    # it.
    if scopes is None and actor.is_scoped:
        return ["every permission of its user"]
    asked = permitted(organization_id, role, None) if scopes is None else set(scopes)
    return sorted(asked - actor.permissions)


def spends_more(actor: Actor, mode: Mode) -> bool:
    return actor.mode == "test" and mode == "live"
