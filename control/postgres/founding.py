"""What a project begins with: a branch, where to connect, and whom as."""

from uuid import UUID

from control.postgres import branches, endpoints, inventory, operations, passwords, timelines
from control.postgres.branches import NewBranch
from control.postgres.endpoints import NewEndpoint
from gateway.kit import ids
from gateway.kit.crypto import Keyring
from gateway.kit.sql import Db, Pool, Statements

SQL = Statements(__file__)

BRANCH = "main"
OWNER = "app"
DATABASE = "app"


async def found(db: Db, keyring: Keyring, project_id: UUID, user_id: UUID) -> bool:
    """In the transaction that creates the project. False when it has this already, or is deleted.

    The rows are whole at once, so that a connection string can be shown; the data follows by an operation.
    """
    if await db.fetchval(SQL.lock, project_id) is None or await db.fetchval(SQL.is_founded, project_id):
        return False
    timeline_id = await timelines.insert(db, project_id, None)
    new = NewBranch(project_id, BRANCH, timeline_id, user_id, init_source="empty", is_default=True)
    branch_id = await branches.insert(db, new)
    assert branch_id is not None, "the project has no branch of this name: it has none"
    await endpoints.insert(db, project_id, branch_id, NewEndpoint(), user_id)
    role_id, password = ids.new(), passwords.fresh()
    sealed = passwords.seal(keyring, project_id, role_id, password)
    await inventory.insert_role(
        db, role_id, branch_id, OWNER, passwords.verifier(password), sealed, is_protected=True
    )
    await inventory.insert_database(db, branch_id, DATABASE, OWNER)
    await operations.enqueue(db, "create_timeline", project_id, branch_id, created_by=user_id)
    return True


async def found_missing(pool: Pool, keyring: Keyring, count: int = 20) -> int:
    """Projects from before there were databases get theirs."""
    founded = 0
    for row in await pool.fetch(SQL.unfounded, count):
        async with pool.acquire() as db, db.transaction():
            founded += await found(db, keyring, row["id"], row["created_by"])
    return founded
