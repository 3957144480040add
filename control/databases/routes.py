from uuid import UUID

from asyncpg import Record

from control.api import wire_ids
from control.api.answers import Created
from control.api.operation import Call, Room
from control.api.paging import Data
from control.api.wire_ids import RootProjectId
from control.databases import store
from control.databases.models import (
    Database,
    DatabaseChange,
    DatabaseCreated,
    DatabaseWithContext,
    NewDatabase,
)
from control.postgres import contents, databases, inside, roles
from control.postgres.databases import DatabaseExists, TooManyDatabases
from control.postgres.names import IdOrName
from gateway.kit.problem import NotFound
from gateway.kit.sql import Db
from gateway.ledger import events
from gateway.ledger.event_types import EventType

room = Room("databases", "/projects/{project_id}/branches/{branch_id}/databases")


@room.get(at="/databases", access="projects.read", id="list_all_databases")
async def index_all(call: Call) -> Data[list[DatabaseWithContext]]:
    """List the databases of every project that you can see, with their branches.

    A session sees those of all its organizations, and of projects it was invited to; a key those of its own.
    Databases that were made by SQL are listed when a list of their branch was asked for, or soon by itself.
    """
    own = None if call.actor.kind == "session" else call.actor.organization_id
    return Data(data=await with_context(call, await store.projects_seen(call.db, call.actor.user_id, own)))


@room.get(at="/projects/{project_id}/databases", access="projects.read", id="list_project_databases")
async def index_project(call: Call, project_id: RootProjectId) -> Data[list[DatabaseWithContext]]:
    """List the databases of a project's branches, those of the default branch first."""
    return Data(data=await with_context(call, [project_id]))


@room.get(access="projects.read", fails=[NotFound], is_transaction=False, id="list_databases")
async def index(call: Call, project_id: RootProjectId, branch_id: UUID) -> Data[list[Database]]:
    """List a branch's databases, oldest first.

    Also those that were made by SQL, when the branch is awake; asking wakes nothing.
    """
    await contents.require(call.db, project_id, branch_id)
    await contents.refresh_if_able(call.pool, call.ports.computes, branch_id)
    return Data(data=[Database(**row) for row in await databases.index(call.db, branch_id)])


@room.post(
    access="projects.write",
    fails=[NotFound, DatabaseExists, TooManyDatabases, *inside.REFUSALS],
    is_transaction=False,
    id="create_database",
)
async def create(
    call: Call, project_id: RootProjectId, branch_id: UUID, *, body: NewDatabase
) -> Created[Data[DatabaseCreated]]:
    """Create a database. Wakes the branch."""
    await contents.require_wakeable(call.db, call.ports.settings.plans, project_id, branch_id)
    async with contents.changing(call.pool, call.ports.computes, call.transaction(), branch_id) as (
        db,
        connection,
    ):
        row = await databases.create(db, connection, branch_id, body.name, body.owner_name)
        whose = await roles.find(db, branch_id, None, row["owner_name"])
        await tell(db, call, project_id, "database.created", row)
    return Created(Data(data=DatabaseCreated(owner_role_id=None if whose is None else whose["id"], **row)))


@room.get("/{database}", access="projects.read", fails=[NotFound], is_transaction=False, id="get_database")
async def show(call: Call, project_id: RootProjectId, branch_id: UUID, database: IdOrName) -> Data[Database]:
    """Show a database, by its id or its name."""
    await contents.require(call.db, project_id, branch_id)
    await contents.refresh_if_able(call.pool, call.ports.computes, branch_id)
    return Data(data=Database(**await found(call, branch_id, database)))


CHANGE_FAILS = [NotFound, *inside.REFUSALS]


@room.put(
    "/{database}", access="projects.write", fails=CHANGE_FAILS, is_transaction=False, id="update_database"
)
async def replace(
    call: Call, project_id: RootProjectId, branch_id: UUID, database: IdOrName, *, body: DatabaseChange
) -> Data[Database]:
    """Give a database another owner. What is in it keeps its owners. Wakes the branch."""
    return Data(data=await changed(call, project_id, branch_id, database, body))


@room.patch(
    "/{database}",
    access="projects.write",
    fails=CHANGE_FAILS,
    is_transaction=False,
    id="update_database_by_name",
)
async def update(
    call: Call, project_id: RootProjectId, branch_id: UUID, database: IdOrName, *, body: DatabaseChange
) -> Data[Database]:
    """Give a database another owner; the same as PUT."""
    return Data(data=await changed(call, project_id, branch_id, database, body))


@room.delete(
    "/{database}", access="projects.write", fails=CHANGE_FAILS, is_transaction=False, id="delete_database"
)
async def delete(
    call: Call, project_id: RootProjectId, branch_id: UUID, database: IdOrName
) -> Data[Database]:
    """Drop a database with everything in it, and end the sessions that use it. Answers with what it was."""
    await contents.require_wakeable(call.db, call.ports.settings.plans, project_id, branch_id)
    row = await found(call, branch_id, database)
    async with contents.changing(call.pool, call.ports.computes, call.transaction(), branch_id) as (
        db,
        connection,
    ):
        await databases.drop(db, connection, row)
        await tell(db, call, project_id, "database.deleted", row)
    return Data(data=Database(**row))


async def changed(
    call: Call, project_id: UUID, branch_id: UUID, named: str, body: DatabaseChange
) -> Database:
    await contents.require(call.db, project_id, branch_id)
    row = await found(call, branch_id, named)
    if body.owner_name is not None:
        await contents.require_wakeable(call.db, call.ports.settings.plans, project_id, branch_id)
        async with contents.changing(call.pool, call.ports.computes, call.transaction(), branch_id) as (
            db,
            connection,
        ):
            row = await databases.give(db, connection, row, body.owner_name)
            call.about(row["id"])
    return Database(**row)


async def tell(db: Db, call: Call, project_id: UUID, type: EventType, row: Record) -> None:
    call.about(row["id"])
    told = {"branch_id": str(row["branch_id"]), "database_id": str(row["id"]), "name": row["name"]}
    await events.emit(db, call.actor.organization_id, type, told, project_id)


async def found(call: Call, branch_id: UUID, named: str) -> Record:
    row = await databases.find(call.db, branch_id, wire_ids.read("", named), named)
    if row is None:
        raise NotFound(f"no database {named}")
    return row


async def with_context(call: Call, project_ids: list[UUID]) -> list[DatabaseWithContext]:
    return [DatabaseWithContext(**row) for row in await databases.of_projects(call.db, project_ids)]
