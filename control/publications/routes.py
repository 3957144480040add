from dataclasses import replace
from uuid import UUID

from asyncpg import Record

from control.api.answers import Created
from control.api.operation import Call, Room
from control.api.paging import Data
from control.api.wire_ids import RootProjectId
from control.postgres import contents, databases, inside, publications, slots
from control.postgres.publications import PublicationExists, Published, published
from control.postgres.slots import ReplicationOff
from control.publications.models import NewPublication, Publication, PublicationChange
from gateway.kit.problem import NotFound, invalid

room = Room("publications", "/projects/{project_id}/branches/{branch_id}/publications")


@room.get(access="projects.read", fails=[NotFound], is_transaction=False, id="list_publications")
async def index(call: Call, project_id: RootProjectId, branch_id: UUID) -> Data[list[Publication]]:
    """List the publications of a branch's databases, oldest first.

    Also those that were made by SQL, when the branch is awake; asking wakes nothing.
    """
    await contents.require(call.db, project_id, branch_id)
    await contents.refresh_if_able(call.pool, call.ports.computes, branch_id, with_publications=True)
    rows = await publications.index(call.db, branch_id)
    return Data(data=[shown(project_id, branch_id, row) for row in rows])


@room.post(
    access="projects.write",
    fails=[NotFound, ReplicationOff, PublicationExists, *inside.REFUSALS],
    is_transaction=False,
    id="create_publication",
)
async def create(
    call: Call, project_id: RootProjectId, branch_id: UUID, *, body: NewPublication
) -> Created[Data[Publication]]:
    """Publish the changes to a database's tables. Wakes the branch.

    Without `tables` it publishes all of them, which takes a superuser in Postgres. The project must have
    logical replication enabled.
    """
    await contents.require_wakeable(call.db, call.ports.settings.plans, project_id, branch_id)
    await slots.require_enabled(call.db, project_id)
    database = await databases.named(call.db, branch_id, body.database)
    if database is None:
        raise invalid("body/database", "is not a database of this branch")
    wanted = Published(
        tuple(body.tables or ()), body.publish_insert, body.publish_update, body.publish_delete,
        body.publish_truncate,
    )  # fmt: skip
    async with contents.changing(call.pool, call.ports.computes, call.transaction(), branch_id, database) as (
        db,
        connection,
    ):
        made = await publications.create(db, connection, branch_id, database, body.name, wanted)
        call.about(made)
    row = await found(call, branch_id, made)
    return Created(Data(data=shown(project_id, branch_id, row)))


@room.patch(
    "/{publication_id}",
    access="projects.write",
    fails=[NotFound, *inside.REFUSALS],
    is_transaction=False,
    id="update_publication",
)
async def update(
    call: Call, project_id: RootProjectId, branch_id: UUID, publication_id: UUID, *, body: PublicationChange
) -> Data[Publication]:
    """Change what a publication tells of. Wakes the branch."""
    await contents.require_wakeable(call.db, call.ports.settings.plans, project_id, branch_id)
    row = await found(call, branch_id, publication_id)
    wanted = replace(published(row), **body.model_dump(exclude_none=True))
    wanted = replace(wanted, tables=tuple(wanted.tables))
    async with contents.changing(
        call.pool, call.ports.computes, call.transaction(), branch_id, row["database"]
    ) as (db, connection):
        await publications.change(
            db, connection, branch_id, row, replace(wanted, tables=tuple(wanted.tables))
        )
        call.about(publication_id)
    return Data(data=shown(project_id, branch_id, await found(call, branch_id, publication_id)))


@room.delete(
    "/{publication_id}",
    access="projects.write",
    fails=[NotFound, *inside.REFUSALS],
    is_transaction=False,
    id="delete_publication",
)
async def delete(call: Call, project_id: RootProjectId, branch_id: UUID, publication_id: UUID) -> None:
    """Drop a publication. Wakes the branch."""
    await contents.require_wakeable(call.db, call.ports.settings.plans, project_id, branch_id)
    row = await found(call, branch_id, publication_id)
    async with contents.changing(
        call.pool, call.ports.computes, call.transaction(), branch_id, row["database"]
    ) as (db, connection):
        await publications.drop(db, connection, row)
        call.about(publication_id)


async def found(call: Call, branch_id: UUID, publication_id: UUID) -> Record:
    row = await publications.find(call.db, branch_id, publication_id)
    if row is None:
        raise NotFound(f"no publication {publication_id}")
    return row


def shown(project_id: UUID, branch_id: UUID, row: Record) -> Publication:
    return Publication(project_id=project_id, branch_id=branch_id, **row)
