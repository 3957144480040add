"""The data of a new branch: empty for a project's first one, else what its parent was at a point.

The provider makes a timeline whole or not at all, and once however often it is asked; the rows that lead to
it change in one transaction when everything is there. A crash between the two leaves a timeline that the
next run finds, and that nobody could have connected to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from asyncpg import Record

from control.computes import tenants
from control.computes.provider import TimelineInfo
from control.postgres import branches, connecting, contents, emptying, inventory, publications, timelines
from control.postgres.inventory import Inventory
from control.postgres.operations import Job, Operation
from control.postgres.publications import Published
from gateway.kit.sql import Connection, Db
from gateway.ledger import events


async def create_timeline(job: Job) -> None:
    """A project's first: empty but for its owner and a database of theirs."""
    branch = await branches.standing(job.pool, job.branch_id)
    if branch is None:
        return await abandon(job)
    info = await timelines.make(job.pool, job.computes, branch["timeline_id"])
    rows = await inventory.rows_of_roles(job.pool, job.branch_id)
    async with connecting.visiting(job.computes, branch["timeline_id"]) as admin:
        for row in rows:
            await tenants.prepare(admin, row["name"], row["verifier"])
        for name, owner in await inventory.rows_of_databases(job.pool, job.branch_id):
            await tenants.create_database(admin, name, owner)
        version = version_of(admin)
    info = await job.computes.stat(info.id)
    async with job.finishing() as db:
        await timelines.ready(db, info, version=version)
        await branches.become(db, job.branch_id, "ready")


async def create_branch(job: Job) -> None:
    branch = await branches.standing(job.pool, job.branch_id)
    if branch is None:
        return await abandon(job)
    made = await derive(
        job, branch["timeline_id"], is_renewed=branch["is_parent_protected"],
        is_emptied=branch["init_source"] == "schema-only",
    )  # fmt: skip
    parent_id = branch["parent_branch_id"]
    async with job.finishing() as db:
        await branches.lock_project(db, branch["project_id"])
        inherited = [] if parent_id is None else await inventory.rows_of_roles(db, parent_id)
        await made.write(db, job, branch["project_id"], job.branch_id, inherited)
        await branches.become(db, job.branch_id, "ready")
        await events.emit(db, branch["organization_id"], "branch.created", told(branch), branch["project_id"])


@dataclass(frozen=True, slots=True)
class Derived:
    """A timeline that is there, and what is in it."""

    info: TimelineInfo
    found: Inventory
    renewed: dict[str, str]
    version: str
    published: Mapping[str, Mapping[str, Published]]

    async def write(
        self, db: Db, job: Job, project_id: UUID, branch_id: UUID, inherited: Sequence[Record]
    ) -> None:
        await inventory.rewrite(db, job.keyring, project_id, branch_id, self.found, inherited, self.renewed)
        await publications.adopt(db, branch_id, self.published)
        await timelines.ready(db, self.info, version=self.version)


async def derive(job: Job, timeline_id: UUID, *, is_renewed: bool, is_emptied: bool = False) -> Derived:
    """``is_renewed`` gives everybody in it another password."""
    if is_emptied:
        await emptying.make(job, timeline_id)
    info = await timelines.make(job.pool, job.computes, timeline_id)
    renewed: dict[str, str] = {}
    async with connecting.visiting(job.computes, timeline_id) as admin:
        found = await inventory.look(admin)
        if is_renewed:
            renewed = await inventory.renew_passwords(admin, found)
            found = await inventory.look(admin)
        version = version_of(admin)
        published = await contents.published_by(job.computes, f"visit-{timeline_id}", found)
    return Derived(await job.computes.stat(info.id), found, renewed, version, published)


def version_of(admin: Connection) -> str:
    return str(admin.get_server_version().major)


def told(branch: Record) -> dict[str, str]:
    return {"branch_id": str(branch["id"]), "name": branch["name"]}


async def abandon(job: Job) -> None:
    """It was deleted before it was made; what there is of its data goes with the sweep."""
    async with job.finishing():
        pass


async def give_up(db: Db, operation: Operation, reason: str) -> None:
    assert operation.branch_id is not None
    branch = await branches.standing(db, operation.branch_id)
    if branch is not None:
        await timelines.failed(db, branch["timeline_id"])
        await branches.become(db, operation.branch_id, "failed")
        news = {**told(branch), "action": operation.action, "reason": reason}
        await events.emit(db, branch["organization_id"], "branch.failed", news, branch["project_id"])
