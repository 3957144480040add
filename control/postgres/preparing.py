"""The first role and database of a new project, made in its server. Each step can be repeated."""

from gateway.kit.sql import Connection, Statements

SQL = Statements(__file__)


async def prepare(admin: Connection, owner: str, verifier: str) -> None:
    if not await admin.fetchval(SQL.has_role, owner):
        await admin.execute(await admin.fetchval(SQL.create_role, owner))
    await admin.execute(await admin.fetchval(SQL.grant_role, owner, verifier))


async def create_database(admin: Connection, name: str, owner: str) -> None:
    if not await admin.fetchval(SQL.has_database, name):
        await admin.execute(await admin.fetchval(SQL.create_database, name, owner))
