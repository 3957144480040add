from uuid import UUID

from asyncpg import Record

from control.api import wire_ids
from control.api.answers import Created
from control.api.operation import Call, Room
from control.api.paging import Data
from control.api.wire_ids import RootProjectId
from control.database_roles.models import NewPassword, NewRole, Role, RoleCreated, RolePassword
from control.postgres import contents, inside, roles
from control.postgres.names import IdOrName
from control.postgres.roles import PasswordUnknown, RoleExists, RoleOwns, RoleProtected, TooManyRoles
from gateway.kit.problem import NotFound
from gateway.kit.sql import Db
from gateway.ledger import events
from gateway.ledger.event_types import EventType

room = Room("database_roles", "/projects/{project_id}/branches/{branch_id}/roles")


@room.get(access="projects.read", fails=[NotFound], is_transaction=False, id="list_branch_roles")
async def index(call: Call, project_id: RootProjectId, branch_id: UUID) -> Data[list[Role]]:
    """List the Postgres roles of a branch by name.

    Also those that were made by SQL, when the branch is awake; asking wakes nothing.
    """
    await contents.require(call.db, project_id, branch_id)
    await contents.refresh_if_able(call.pool, call.ports.computes, branch_id)
    return Data(data=[shown(row) for row in await roles.index(call.db, branch_id)])


@room.post(
    access="projects.write",
    fails=[NotFound, RoleExists, TooManyRoles, *inside.REFUSALS],
    is_transaction=False,
    id="create_branch_role",
)
async def create(
    call: Call, project_id: RootProjectId, branch_id: UUID, *, body: NewRole
) -> Created[Data[RoleCreated]]:
    """Create a Postgres role that can log in, with a password that is made up. Wakes the branch.

    It may do nothing but connect, until the branch's own role grants it something, of which it is a member
    and which may alter it.
    """
    await contents.require_wakeable(call.db, call.ports.settings.plans, project_id, branch_id)
    secret = await roles.secret_of()
    async with contents.changing(call.pool, call.ports.computes, call.transaction(), branch_id) as (
        db,
        connection,
    ):
        row = await roles.create(db, connection, call.ports.keyring, project_id, branch_id, body.name, secret)
        await tell(db, call, project_id, "database_role.created", row)
    made = RoleCreated(
        id=row["id"],
        name=row["name"],
        branch_id=branch_id,
        password=secret.password,
        created_at=row["created_at"],
    )
    return Created(Data(data=made))


@room.get("/{role}", access="projects.read", fails=[NotFound], is_transaction=False, id="get_role_by_name")
async def show(call: Call, project_id: RootProjectId, branch_id: UUID, role: IdOrName) -> Data[Role]:
    """Show a Postgres role, by its id or its name."""
    await contents.require(call.db, project_id, branch_id)
    await contents.refresh_if_able(call.pool, call.ports.computes, branch_id)
    return Data(data=shown(await found(call, branch_id, role)))


@room.delete(
    "/{role}",
    access="projects.write",
    fails=[NotFound, RoleProtected, RoleOwns, *inside.REFUSALS],
    is_transaction=False,
    id="delete_branch_role",
)
async def delete(call: Call, project_id: RootProjectId, branch_id: UUID, role: IdOrName) -> Data[Role]:
    """Drop a Postgres role, and end its sessions. Answers with what it was.

    One that owns something, or was granted something, is not dropped: the answer names what.
    """
    await contents.require_wakeable(call.db, call.ports.settings.plans, project_id, branch_id)
    row = await found(call, branch_id, role)
    if row["is_protected"]:
        raise RoleProtected(f"{row['name']} owns what the branch came with")
    async with contents.changing(call.pool, call.ports.computes, call.transaction(), branch_id) as (
        db,
        connection,
    ):
        await roles.drop(db, connection, row)
        await tell(db, call, project_id, "database_role.deleted", row)
    return Data(data=shown(row))


@room.post(
    "/{role}/reset_password",
    access="projects.write",
    fails=[NotFound, *inside.REFUSALS],
    is_transaction=False,
    id="reset_role_password",
)
async def reset(
    call: Call, project_id: RootProjectId, branch_id: UUID, role: IdOrName, *, body: NewPassword
) -> Data[RolePassword]:
    """Give a Postgres role another password. Whoever is connected stays so. Wakes the branch."""
    await contents.require_wakeable(call.db, call.ports.settings.plans, project_id, branch_id)
    row = await found(call, branch_id, role)
    secret = await roles.secret_of(body.password)
    async with contents.changing(call.pool, call.ports.computes, call.transaction(), branch_id) as (
        db,
        connection,
    ):
        await roles.reset(db, connection, call.ports.keyring, project_id, row, secret)
        await tell(db, call, project_id, "database_role.password_changed", row)
    return Data(data=RolePassword(role_id=row["id"], password=secret.password))


@room.get(
    "/{role}/reveal_password",
    access="projects.write",
    fails=[NotFound, PasswordUnknown],
    is_transaction=False,
    is_change=True,
    id="reveal_role_password",
)
async def reveal(
    call: Call, project_id: RootProjectId, branch_id: UUID, role: IdOrName
) -> Data[RolePassword]:
    """Show the password of a Postgres role, to whoever may change it.

    It is kept encrypted, and each look at it is in the audit log. One that was set by SQL is not known here.
    """
    await contents.require(call.db, project_id, branch_id)
    await contents.refresh_if_able(call.pool, call.ports.computes, branch_id)
    row = await found(call, branch_id, role)
    call.about(row["id"])
    password = roles.reveal(call.ports.keyring, project_id, row)
    return Data(data=RolePassword(role_id=row["id"], password=password))


async def tell(db: Db, call: Call, project_id: UUID, type: EventType, row: Record) -> None:
    call.about(row["id"])
    told = {"branch_id": str(row["branch_id"]), "role_id": str(row["id"]), "name": row["name"]}
    await events.emit(db, call.actor.organization_id, type, told, project_id)


async def found(call: Call, branch_id: UUID, named: str) -> Record:
    row = await roles.find(call.db, branch_id, wire_ids.read("", named), named)
    if row is None:
        raise NotFound(f"no role {named}")
    return row


def shown(row: Record) -> Role:
    return Role(
        id=row["id"],
        name=row["name"],
        branch_id=row["branch_id"],
        protected=row["is_protected"],
        created_at=row["created_at"],
    )
