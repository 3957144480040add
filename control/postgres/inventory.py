"""What a branch has inside, as rows: its roles with their verifiers, and its databases.

The server is the truth, as tenants make roles and change passwords by SQL; rows are what the proxy and
listings read, so that neither wakes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from asyncpg import Record

from control.computes import tenants
from control.computes.tenants import Role, text
from control.postgres import passwords
from gateway.kit import ids
from gateway.kit.crypto import Keyring
from gateway.kit.sql import Connection, Db, Statements

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Inventory:
    roles: Sequence[Role]
    databases: Sequence[tuple[str, str]]
    """Names, with the names of their owners."""


async def look(admin: Connection) -> Inventory:
    """What is there by now. ``admin`` is a superuser's connection to the branch's server."""
    roles = await tenants.roles(admin)
    databases = [
        (name, owner)
        for row in await admin.fetch(SQL.databases_inside)
        if (name := text(row["name"])) is not None and (owner := text(row["owner_name"])) is not None
    ]
    return Inventory(roles, databases)


async def renew_passwords(admin: Connection, found: Inventory) -> dict[str, str]:
    """Give everybody who can log in another password, in the server itself. Returns them by name."""
    renewed = {role.name: passwords.fresh() for role in found.roles if role.can_login and role.verifier}
    for name, password in renewed.items():
        statement = await admin.fetchval(SQL.alter_password, name, passwords.verifier(password))
        await admin.execute(statement)
    return renewed


async def write(db: Db, branch_id: UUID, found: Inventory) -> None:
    """Bring the rows of a branch up to what was found in its server."""
    names, verifiers = [role.name for role in found.roles], [role.verifier for role in found.roles]
    await db.execute(SQL.put_roles, branch_id, [ids.new() for _ in names], names, verifiers)
    await db.execute(SQL.drop_roles, branch_id, names)
    await write_databases(db, branch_id, found)


async def learn(db: Db, branch_id: UUID, found: Inventory, name: str) -> None:
    """One role as it was found, whatever is being done about others meanwhile."""
    await adopt(db, branch_id, {role.name: role.verifier for role in found.roles if role.name == name})


async def adopt(db: Db, branch_id: UUID, verifiers: Mapping[str, str | None]) -> None:
    """These roles as they are; of others nothing is said."""
    names = list(verifiers)
    await db.execute(
        SQL.put_roles, branch_id, [ids.new() for _ in names], names, [verifiers[name] for name in names]
    )


async def write_databases(db: Db, branch_id: UUID, found: Inventory) -> None:
    names, owners = [name for name, _ in found.databases], [owner for _, owner in found.databases]
    await db.execute(SQL.put_databases, branch_id, [ids.new() for _ in names], names, owners)
    await db.execute(SQL.drop_databases, branch_id, names)


async def rewrite(
    db: Db,
    keyring: Keyring,
    project_id: UUID,
    branch_id: UUID,
    found: Inventory,
    inherited: Sequence[Record],
    renewed: dict[str, str],
) -> None:
    """All rows anew, for a branch that points to other data than before. A role keeps its id by its name.

    ``inherited`` are the rows of the branches that the data may be of: a password that is known there is the
    same here as long as the verifier is. ``renewed`` are passwords that were made for this one.
    """
    ids_before = {row["name"]: row["id"] for row in await rows_of_roles(db, branch_id)}
    await db.execute(SQL.clear_roles, branch_id)
    # A copy of data loses its slots; its publications are found by the first look.
    await db.execute(SQL.clear_slots, branch_id)
    await db.execute(SQL.clear_publications, branch_id)
    known = {(row["name"], row["verifier"]): row for row in inherited}
    owners = {row["name"] for row in inherited if row["is_protected"]}
    for role in found.roles:
        role_id = ids_before.get(role.name) or ids.new()
        before = known.get((role.name, role.verifier))
        password = renewed.get(role.name)
        if password is None and before is not None:
            password = passwords.opened(keyring, project_id, before["id"], before["password"])
        sealed = None if password is None else passwords.seal(keyring, project_id, role_id, password)
        is_protected = role.name in owners
        await insert_role(db, role_id, branch_id, role.name, role.verifier, sealed, is_protected=is_protected)
    await write_databases(db, branch_id, found)


async def copy(db: Db, keyring: Keyring, project_id: UUID, branch_id: UUID, to: UUID) -> None:
    """For a branch that is given the data of another one, with everything in it."""
    rows = await rows_of_roles(db, branch_id)
    roles = [Role(row["name"], row["verifier"]) for row in rows]
    found = Inventory(roles, await rows_of_databases(db, branch_id))
    await rewrite(db, keyring, project_id, to, found, rows, {})


async def rows_of_roles(db: Db, branch_id: UUID) -> list[Record]:
    return await db.fetch(SQL.rows_of_roles, branch_id)


async def rows_of_databases(db: Db, branch_id: UUID) -> list[tuple[str, str]]:
    rows = await db.fetch(SQL.rows_of_databases, branch_id)
    return [(row["name"], row["owner_name"]) for row in rows]


async def insert_role(
    db: Db,
    role_id: UUID,
    branch_id: UUID,
    name: str,
    verifier: str | None,
    sealed: bytes | None,
    *,
    is_protected: bool = False,
) -> None:
    await db.execute(SQL.insert_role, role_id, branch_id, name, verifier, sealed, is_protected)


async def insert_database(db: Db, branch_id: UUID, name: str, owner_name: str) -> None:
    await db.execute(SQL.insert_database, ids.new(), branch_id, name, owner_name)
