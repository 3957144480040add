"""Roles of a branch's Postgres: a row for each, and the same one inside.

The row is written first, then Postgres, then the transaction commits. What dies before Postgres leaves
nothing; what dies between Postgres and the commit leaves a role that the next look at the branch finds, as
it finds those that somebody made by SQL.
"""

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
from asyncpg import Record

from control.postgres import inside, passwords
from gateway.kit import crypto, ids
from gateway.kit.crypto import Keyring
from gateway.kit.problem import NotFound, Refusal
from gateway.kit.sql import Connection, Db, Pool, Statements

SQL = Statements(__file__)

ROLES_MAX = 500


@dataclass(frozen=True, slots=True)
class Secret:
    password: str = field(repr=False)
    verifier: str = field(repr=False)
    """All of it that is ever sent to Postgres."""


async def secret_of(password: str | None = None) -> Secret:
    """Made up if not given. It takes milliseconds of work, so not on the event loop."""
    chosen = password or passwords.fresh()
    return Secret(chosen, await asyncio.to_thread(passwords.verifier, chosen))


class RoleExists(Refusal):
    # The reference says 400 for it.
    status, slug, title = 400, "role-exists", "The role exists already"


class RoleProtected(Refusal):
    status, slug, title = 400, "role-protected", "The role is protected"


class RoleOwns(Refusal):
    status, slug, title = 409, "role-in-use", "The role owns something"


class TooManyRoles(Refusal):
    status, slug, title = 409, "too-many-roles", "Too many roles"


class PasswordUnknown(Refusal):
    status, slug, title = 409, "password-unknown", "The password is not known here"


async def index(db: Db, branch_id: UUID) -> list[Record]:
    return await db.fetch(SQL.index, branch_id)


async def find(db: Db, branch_id: UUID, role_id: UUID | None, name: str | None) -> Record | None:
    return await db.fetchrow(SQL.find, branch_id, role_id, name)


async def owner(db: Db, branch_id: UUID) -> str | None:
    """The one that the branch came with."""
    name: str | None = await db.fetchval(SQL.owner, branch_id)
    return name


async def insert(
    db: Db,
    keyring: Keyring,
    project_id: UUID,
    branch_id: UUID,
    name: str,
    secret: Secret,
    *,
    is_protected: bool = False,
) -> Record | None:
    """The row alone, for a branch whose Postgres is yet to be made. None if the name is taken."""
    role_id = ids.new()
    sealed = passwords.seal(keyring, project_id, role_id, secret.password)
    return await db.fetchrow(SQL.insert, role_id, branch_id, name, secret.verifier, sealed, is_protected)


async def create(
    db: Db,
    connection: Connection,
    keyring: Keyring,
    project_id: UUID,
    branch_id: UUID,
    name: str,
    secret: Secret,
) -> Record:
    if await db.fetchval(SQL.count, branch_id) >= ROLES_MAX:
        raise TooManyRoles(f"a branch has up to {ROLES_MAX} roles; drop one")
    row = await insert(db, keyring, project_id, branch_id, name, secret)
    if row is None:
        raise RoleExists(f"the branch has a role {name}")
    # One that was made by SQL, or by a request that died, is taken over by the next look.
    exists = RoleExists(f"the branch has a role {name}")
    whose = await owner(db, branch_id)
    with inside.refusing({asyncpg.DuplicateObjectError: exists}):
        async with connection.transaction():
            await inside.run(connection, SQL.write_create, name, secret.verifier)
            if whose is not None:
                await inside.run(connection, SQL.write_grant, name, whose)
    return row


async def reset(
    db: Db, connection: Connection, keyring: Keyring, project_id: UUID, role: Record, secret: Secret
) -> None:
    sealed = passwords.seal(keyring, project_id, role["id"], secret.password)
    await db.execute(SQL.set_secret, role["id"], secret.verifier, sealed)
    gone = NotFound(f"Postgres has no role {role['name']} any more")
    with inside.refusing({asyncpg.UndefinedObjectError: gone}):
        await inside.run(connection, SQL.write_password, role["name"], secret.verifier)


async def drop(db: Db, connection: Connection, role: Record) -> None:
    """Its sessions end. What it owns is not dropped with it: that is somebody's data."""
    if role["is_protected"]:
        raise RoleProtected(f"{role['name']} owns what the branch came with")
    await db.execute(SQL.delete, role["id"])
    with inside.refusing():
        owned = [row["datname"] for row in await connection.fetch(SQL.owned_databases, role["name"])]
        if owned:
            raise RoleOwns(f"{role['name']} owns {', '.join(owned)}: give them another owner first")
        oid = await connection.fetchval(SQL.oid, role["name"])
        try:
            await inside.run(connection, SQL.write_drop, role["name"])
        except asyncpg.DependentObjectsStillExistError as error:
            raise RoleOwns(f"{inside.told(error)}: REASSIGN OWNED and DROP OWNED help") from None
        await connection.execute(SQL.end_sessions, oid)


def reveal(keyring: Keyring, project_id: UUID, role: Record) -> str:
    known = passwords.opened(keyring, project_id, role["id"], role["password"])
    if known is None:
        raise PasswordUnknown(f"the password of {role['name']} was set by SQL: reset it to have one shown")
    return known


async def reseal(pool: Pool, keyring: Keyring) -> int:
    """Encrypt again what an older key sealed, a row at a time. Returns how many there were."""
    count = 0
    for row in await pool.fetch(SQL.sealed_ids):
        async with pool.acquire() as connection, connection.transaction():
            found = await connection.fetchrow(SQL.lock_sealed, row["id"])
            if found is None or keyring.is_current(found["password"]):
                continue
            place = crypto.context(found["project_id"], row["id"])
            await connection.execute(
                SQL.replace_sealed, row["id"], keyring.seal(keyring.open(found["password"], place), place)
            )
            count += 1
    return count
