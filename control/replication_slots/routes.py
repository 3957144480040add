from uuid import UUID

from asyncpg import Record

from control.api.answers import Created
from control.api.operation import Call, Room
from control.api.paging import Data
from control.api.wire_ids import RootProjectId
from control.postgres import contents, databases, inside, slots
from control.postgres.slots import (
    LOGICAL,
    ReplicationAfterRestart,
    ReplicationOff,
    SlotActive,
    SlotExists,
    TooManySlots,
)
from control.replication_slots.models import NewSlot, Slot
from gateway.kit.problem import NotFound, invalid

room = Room("replication_slots", "/projects/{project_id}/branches/{branch_id}/replication-slots")


@room.get(access="projects.read", fails=[NotFound], is_transaction=False, id="list_replication_slots")
async def index(call: Call, project_id: RootProjectId, branch_id: UUID) -> Data[list[Slot]]:
    """List the replication slots of a branch, oldest first.

    Also those that were made by SQL, and how far each is, when the branch is awake; asking wakes nothing.
    """
    await contents.require(call.db, project_id, branch_id)
    await contents.refresh_if_able(call.pool, call.ports.computes, branch_id)
    rows = await slots.index(call.db, branch_id)
    return Data(data=[shown(project_id, branch_id, row) for row in rows])


@room.post(
    access="projects.write",
    fails=[
        NotFound, ReplicationOff, ReplicationAfterRestart, SlotExists, TooManySlots, *inside.REFUSALS,
    ],
    is_transaction=False,
    id="create_replication_slot",
)  # fmt: skip
async def create(
    call: Call, project_id: RootProjectId, branch_id: UUID, *, body: NewSlot
) -> Created[Data[Slot]]:
    """Keep a branch's log for a reader that is yet to come. Wakes the branch.

    A slot that nobody reads for 40 hours, or that more than 1 GB was written behind, is given up by Postgres.
    A branch of a branch, a reset and a restore have no slots. The project must have logical replication
    enabled, which restarts the endpoints that run: until then it is refused.
    """
    await contents.require_wakeable(call.db, call.ports.settings.plans, project_id, branch_id)
    await slots.require_enabled(call.db, project_id)
    database = await databases.named(call.db, branch_id, body.database)
    if database is None:
        raise invalid("body/database", "is not a database of this branch")
    wanted = slots.Slot(body.name, body.plugin, body.slot_type, database)
    where = database if body.slot_type == LOGICAL else "postgres"
    async with contents.changing(call.pool, call.ports.computes, call.transaction(), branch_id, where) as (
        db,
        connection,
    ):
        # Again, and nobody turns it off before this is done.
        await slots.require_enabled(db, project_id)
        made = await slots.create(db, connection, branch_id, wanted)
        call.about(made)
    return Created(Data(data=shown(project_id, branch_id, await found(call, branch_id, made))))


@room.delete(
    "/{slot_id}",
    access="projects.write",
    fails=[NotFound, SlotActive, *inside.REFUSALS],
    is_transaction=False,
    id="delete_replication_slot",
)
async def delete(call: Call, project_id: RootProjectId, branch_id: UUID, slot_id: UUID) -> None:
    """Drop a replication slot that nobody reads. Wakes the branch."""
    await contents.require_wakeable(call.db, call.ports.settings.plans, project_id, branch_id)
    row = await found(call, branch_id, slot_id)
    async with contents.changing(call.pool, call.ports.computes, call.transaction(), branch_id) as (
        db,
        connection,
    ):
        await slots.drop(db, connection, row)
        call.about(slot_id)


async def found(call: Call, branch_id: UUID, slot_id: UUID) -> Record:
    row = await slots.find(call.db, branch_id, slot_id)
    if row is None:
        raise NotFound(f"no replication slot {slot_id}")
    return row


def shown(project_id: UUID, branch_id: UUID, row: Record) -> Slot:
    return Slot(project_id=project_id, branch_id=branch_id, **row)
