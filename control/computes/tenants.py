"""What a tenant may be in a server of its own, on a superuser's connection. Each can be repeated.

An owner has every right over what is theirs and none over the server: never superuser, and never
pg_read_all_data, by which verifiers can be read. ``test_attacks.py`` has what they try.
"""

from dataclasses import dataclass

from gateway.kit.sql import Connection, Statements

SQL = Statements(__file__)


@dataclass(frozen=True, slots=True)
class Role:
    name: str
    verifier: str | None
    can_login: bool = True


async def roles(admin: Connection) -> list[Role]:
    """Theirs, and ours that sell queries."""
    return [
        Role(name, row["verifier"], row["can_login"])
        for row in await admin.fetch(SQL.roles)
        if (name := text(row["name"])) is not None
    ]


def text(name: bytes) -> str | None:
    """None for one that was made in a database of another encoding, and that no client of ours can spell."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None


async def prepare(admin: Connection, owner: str, verifier: str) -> None:
    """A role that owns databases and makes further roles; its password is never in the server's hands."""
    assert verifier.startswith("SCRAM-SHA-256$"), "anything else would be taken for a password"
    if not await admin.fetchval(SQL.has_role, owner):
        await admin.execute(await admin.fetchval(SQL.create_role, owner))
    await admin.execute(await admin.fetchval(SQL.grant_role, owner, verifier))


async def create_database(admin: Connection, name: str, owner: str) -> None:
    if not await admin.fetchval(SQL.has_database, name):
        await admin.execute(await admin.fetchval(SQL.create_database, name, owner))
