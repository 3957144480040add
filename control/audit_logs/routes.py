from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field

from control.api.fields import OrganizationId
from control.api.operation import Call, Room
from control.api.paging import Data, Limit, Offset
from control.api.wire_ids import AnyId
from control.audit_logs import store
from control.audit_logs.models import AuditLog, AuditLogList, Category, Status
from gateway.kit.problem import NotFound

room = Room("audit_logs", "/organizations/{organization_id}/audit-logs")

Text = Annotated[str, Field(max_length=100)]


def aware(when: datetime) -> datetime:
    try:
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except OverflowError:
        raise ValueError("is before the first or after the last year") from None


When = Annotated[datetime, AfterValidator(aware)]


@room.get(access="audit_logs.read", id="list_audit_logs")
async def index(
    call: Call,
    organization_id: OrganizationId,
    *,
    actor_id: Annotated[AnyId | None, Field(description="Whose: a user's id.")] = None,
    action: Annotated[Text | None, Field(description="An operation's id.")] = None,
    resource_type: Annotated[Text | None, Field(description="An operation's tag.")] = None,
    resource_id: Annotated[AnyId | None, Field(description="The id of what it was about.")] = None,
    status: Annotated[
        Status | None,
        Field(description="How it ended; `denied` for want of a permission, `failure` for a wrong password."),
    ] = None,
    action_category: Category | None = None,
    start_date: Annotated[
        When | None, Field(description="ISO 8601, inclusive; UTC if it does not say.")
    ] = None,
    end_date: Annotated[
        When | None, Field(description="ISO 8601, exclusive; UTC if it does not say.")
    ] = None,
    before: Annotated[
        UUID | None,
        Field(description="An entry's id: those before it, however many are added meanwhile."),
    ] = None,
    limit: Limit = 50,
    offset: Offset = 0,
) -> Data[AuditLogList]:
    """List what was changed in an organization, newest first: by whom, from where, and how it ended.

    What was refused for want of a permission is there as well. Somebody's personal organization has where
    they signed in, and who gave a wrong password for their account.
    """
    filters = [
        actor_id, action, resource_type, resource_id, status, action_category, start_date, end_date,
    ]  # fmt: skip
    total, found = await store.page(call.db, organization_id, filters, before, limit, offset)
    return Data(data=AuditLogList(data=found, total=total, limit=limit, offset=offset))


@room.get("/{log_id}", access="audit_logs.read", fails=[NotFound], id="get_audit_log")
async def show(call: Call, organization_id: OrganizationId, log_id: UUID) -> Data[AuditLog]:
    """Show one entry."""
    found = await store.get(call.db, organization_id, log_id)
    if found is None:
        raise NotFound(f"no entry {log_id}")
    return Data(data=found)
