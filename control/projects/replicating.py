"""Whether a project's log has what logical replication needs."""

from uuid import UUID

from control.api.operation import Call
from control.postgres import contents, slots
from control.postgres.asking import Asker
from control.projects import saving, store
from control.projects.models import Replication
from gateway.kit.problem import NotFound
from gateway.kit.sql import Db
from gateway.ledger import events


async def show(db: Db, project_id: UUID) -> Replication:
    enabled = (await store.show(db, project_id))["enable_logical_replication"]
    published, kept = await slots.counts(db, project_id)
    return Replication(project_id=project_id, enabled=enabled, publications_count=published, slots_count=kept)


async def turn(call: Call, project_id: UUID, *, is_on: bool) -> Replication:
    if not is_on:
        # What was made by SQL a moment ago counts too.
        await contents.refresh_project(call.pool, call.ports.computes, project_id)
    async with call.transaction() as db:
        before = await store.lock(db, project_id)
        if before is None:
            raise NotFound(f"no project {project_id}")
        if not is_on:
            await slots.require_none(db, project_id)
        if before["enable_logical_replication"] != is_on:
            after = {**before, "enable_logical_replication": is_on}
            await saving.write(Asker(db, project_id, call.actor.user_id), before, after)
            await events.emit(db, call.actor.organization_id, "project.updated", {}, project_id)
        return await show(db, project_id)
