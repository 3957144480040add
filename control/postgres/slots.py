"""Replication slots of a branch, and whether its project's log has enough in it for them."""

from dataclasses import dataclass
from uuid import UUID

import asyncpg
from asyncpg import Record

from control.postgres import inside
from control.postgres.inside import InUseInside
from gateway.kit import ids
from gateway.kit.problem import Refusal, invalid
from gateway.kit.sql import Connection, Db, Statements

SQL = Statements(__file__)

LOGICAL, PHYSICAL = "logical", "physical"
# Postgres loads what a plugin's name says into the server, so only what is known is asked for.
PLUGINS = ("pgoutput", "test_decoding")


class ReplicationOff(Refusal):
    status, slug, title = 403, "logical-replication-off", "Logical replication is not enabled"


class ReplicationAfterRestart(Refusal):
    status, slug, title = 409, "logical-replication-after-restart", "Not before the endpoint's next start"


class SlotExists(Refusal):
    status, slug, title = 400, "replication-slot-exists", "The replication slot exists already"


class SlotActive(Refusal):
    status, slug, title = 409, "replication-slot-active", "The replication slot is in use"


class TooManySlots(Refusal):
    status, slug, title = 409, "too-many-replication-slots", "Too many replication slots"


class SlotsLeft(Refusal):
    status, slug, title = 409, "replication-slots-left", "There are replication slots left"


@dataclass(frozen=True, slots=True)
class Slot:
    name: str
    plugin: str
    slot_type: str
    database: str | None
    status: str = "inactive"
    active_pid: int | None = None
    restart_lsn: str | None = None
    confirmed_flush_lsn: str | None = None


def slot(row: Record) -> Slot:
    return Slot(
        row["name"], row["plugin"], row["slot_type"], row["database"], row["status"], row["active_pid"],
        row["restart_lsn"], row["confirmed_flush_lsn"],
    )  # fmt: skip


async def index(db: Db, branch_id: UUID) -> list[Record]:
    return await db.fetch(SQL.index, branch_id)


async def find(db: Db, branch_id: UUID, slot_id: UUID) -> Record | None:
    return await db.fetchrow(SQL.find, branch_id, slot_id)


async def counts(db: Db, project_id: UUID) -> tuple[int, int]:
    """Of publications and of slots, as they were last seen."""
    row = await db.fetchrow(SQL.counts, project_id)
    assert row is not None
    return row["publications_count"], row["slots_count"]


async def require_none(db: Db, project_id: UUID) -> None:
    """What a project's Postgres needs to start with less in its log."""
    left = await db.fetch(SQL.logical_of_project, project_id)
    if left:
        named = ", ".join(f"{row['name']} of branch {row['branch_name']}" for row in left)
        raise SlotsLeft(f"delete the logical replication slots first: {named}")


async def require_enabled(db: Db, project_id: UUID) -> None:
    if not await db.fetchval(SQL.is_enabled, project_id):
        raise ReplicationOff("turn it on by PATCH /projects/{project_id}/replication")


async def create(db: Db, connection: Connection, branch_id: UUID, wanted: Slot) -> UUID:
    slot_id = ids.new()
    known: dict[type[asyncpg.PostgresError], Refusal] = {
        asyncpg.DuplicateObjectError: SlotExists(f"the branch has a replication slot {wanted.name}"),
        asyncpg.ConfigurationLimitExceededError: TooManySlots(
            "all that a branch may have are there: delete one"
        ),
        asyncpg.ObjectNotInPrerequisiteStateError: ReplicationAfterRestart(
            "it was turned on just now, and the endpoint was not restarted yet: try again soon"
        ),
        asyncpg.UndefinedFileError: invalid("body/plugin", "is not installed here"),
        # It waits for every transaction that was open when it came.
        asyncpg.QueryCanceledError: InUseInside(
            "transactions in the database stay open: end them, then try again"
        ),
    }
    with inside.refusing(known):
        if wanted.slot_type == LOGICAL:
            await connection.fetchval(SQL.create_logical, wanted.name, wanted.plugin)
        else:
            await connection.fetchval(SQL.create_physical, wanted.name)
        found = await observed(connection)
    seen = next(one for one in found if one.name == wanted.name)
    await put(db, slot_id, branch_id, seen)
    return slot_id


async def drop(db: Db, connection: Connection, slot: Record) -> None:
    await db.execute(SQL.delete, slot["id"])
    active = SlotActive(f"{slot['name']} is being read: disconnect whoever does")
    with inside.refusing({asyncpg.ObjectInUseError: active}):
        await connection.execute(SQL.drop, slot["name"])


async def put(db: Db, slot_id: UUID, branch_id: UUID, slot: Slot) -> None:
    await db.execute(
        SQL.put, slot_id, branch_id, slot.name, slot.plugin, slot.slot_type, slot.database, slot.status,
        slot.active_pid, slot.restart_lsn, slot.confirmed_flush_lsn,
    )  # fmt: skip


async def observed(connection: Connection) -> list[Slot]:
    return [slot(row) for row in await connection.fetch(SQL.observed)]


async def adopt(db: Db, branch_id: UUID, seen: list[Slot]) -> None:
    """The rows become what Postgres has."""
    await db.execute(SQL.forget, branch_id, [one.name for one in seen])
    for one in seen:
        await put(db, ids.new(), branch_id, one)
