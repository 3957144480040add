from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

Bypass = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=100)]],
    Field(
        max_length=20,
        description="Names of roles, `owner` say or a custom one, whose members may all the same.",
    ),
]
Deletion = Annotated[bool, Field(description="It, and its endpoints, are not deleted, archived or expiring.")]
Reset = Annotated[bool, Field(description="It is neither reset nor restored.")]
Approval = Annotated[
    bool,
    Field(description="Only who may bypass renames it, changes its endpoints, or makes it the default."),
]


class NewProtection(BaseModel, extra="forbid"):
    prevent_deletion: Deletion = True
    prevent_reset: Reset = True
    require_approval_for_changes: Approval = False
    allowed_bypass_roles: Bypass = []


class ProtectionPatch(BaseModel, extra="forbid"):
    """What is not sent, or is null, stays as it is."""

    prevent_deletion: Deletion | None = None
    prevent_reset: Reset | None = None
    require_approval_for_changes: Approval | None = None
    allowed_bypass_roles: Bypass | None = None


class Protection(BaseModel):
    id: UUID
    project_id: UUID
    branch_id: UUID
    prevent_deletion: bool
    prevent_reset: bool
    require_approval_for_changes: bool
    allowed_bypass_roles: list[str]
    created_at: datetime
    updated_at: datetime
