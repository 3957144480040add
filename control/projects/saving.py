"""What becomes of projects, for the operations of both management APIs."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from control.api import access, wire_ids
from control.api.operation import Call
from control.identity import organizations
from control.invoicing import reminding
from control.postgres import asking, founding
from control.postgres.asking import Asker
from control.projects import keeping, store
from control.projects.models import DeletedProject
from control.projects.store import SlugTaken
from control.quotas import headroom
from gateway.identify import QuotaExceeded
from gateway.kit.problem import NotFound, Refusal, invalid
from gateway.ledger import events
from gateway.ledger.event_types import EventType


class ProjectSlugTaken(Refusal):
    status, slug, title = 409, "project-slug-taken", "Project slug already exists"


class TierLimitExceeded(Refusal):
    status, slug, title = 402, "tier-limit-exceeded", "The plan has no room for it"


async def elsewhere(call: Call, organization_id: UUID) -> access.Actor:
    """Named in a body of ``/v1``, and told in the same spelling if there is none."""
    named = wire_ids.spell(wire_ids.ORGANIZATION, organization_id)
    return await access.elsewhere(call.db, call.actor, organization_id, "projects.write", named)


async def insert(call: Call, organization_id: UUID, name: str, slug: str | None, region: str) -> UUID:
    await require_organization(call, organization_id)
    try:
        made = await store.insert(call.db, organization_id, name, slug, region, call.actor.user_id)
    except SlugTaken:
        raise ProjectSlugTaken(f"the slug {slug} is taken") from None
    project_id: UUID = made["id"]
    await founding.found(call.db, call.ports.keyring, project_id, call.actor.user_id)
    await tell(call, organization_id, "project.created", project_id, name=name, slug=made["slug"])
    return project_id


async def require_room(call: Call, organization_id: UUID) -> None:
    """As clients of ``/v1`` know it."""
    settings = call.ports.settings
    await reminding.require_paid(call.db, settings.invoicing, organization_id)
    try:
        await headroom.require(call.db, settings.plans, organization_id, "projects")
        await keeping.require_room(call.db, settings, organization_id)
    except QuotaExceeded as error:
        raise TierLimitExceeded(str(error)) from None


async def tell(call: Call, organization_id: UUID, type: EventType, project_id: UUID, **more: str) -> None:
    await events.emit(call.db, organization_id, type, more, project_id)


async def require_organization(call: Call, organization_id: UUID) -> None:
    """It stays until this transaction ends: nobody deletes an organization under a new project."""
    if not await organizations.lock(call.db, organization_id):
        raise NotFound("this organization was deleted just now")


async def apply(call: Call, project_id: UUID, changes: Mapping[str, Any]) -> None:
    before = await store.lock(call.db, project_id)
    if before is None:
        raise NotFound(f"no project {project_id}")
    after = {**before, **changes}
    if before["enable_logical_replication"] and not after["enable_logical_replication"]:
        raise invalid("body/enable_logical_replication", "is turned off at /replication")
    if after["compute_unit_min"] > after["compute_unit_max"]:
        raise invalid("body/compute_unit_min", "is more than compute_unit_max")
    await write(Asker(call.db, project_id, call.actor.user_id), before, after)


async def write(asker: Asker, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """``before`` is locked, and what runs goes by ``after`` soon."""
    await asking.settle(asker, before, after)
    try:
        await store.update(asker.db, asker.project_id, after)
    except SlugTaken:
        raise ProjectSlugTaken(f"the slug {after['slug']} is taken") from None


async def deleted(call: Call, project_id: UUID) -> DeletedProject:
    await asking.delete_project(Asker(call.db, project_id, call.actor.user_id))
    gone = await store.delete(call.db, project_id, call.actor.user_id)
    if gone is None:
        raise NotFound(f"no project {project_id}")
    await tell(call, call.actor.organization_id, "project.deleted", project_id)
    return gone
