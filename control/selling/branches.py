"""Branches whose queries are sold: woken, with a role that reads what is sold of them and nothing else.

The role is made by us and for one publisher, its grants are what the publisher named, and all of it is made
again for each new timeline: a branch that was reset or restored has the roles of another time.
"""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from config.plans import Plan
from control.computes.provider import ComputeProvider, ComputeUnavailable
from control.postgres import connecting, passwords
from control.quotas import headroom
from gateway.kit.dsn import Dsn
from gateway.kit.problem import NotFound
from gateway.kit.sql import Connection, Pool, Statements
from gateway.upstreams.branches import Branch

SQL = Statements(__file__)
# Forgotten all at once: knowing it spares two statements.
PREPARED_MAX = 10_000


class SoldBranches:
    """What ``gateway.upstreams.branches`` asks for."""

    def __init__(self, pool: Pool, computes: ComputeProvider, plans: Sequence[Plan] = ()) -> None:
        self.pool, self.computes, self.plans = pool, computes, plans
        self.prepared: dict[str, tuple[UUID, Branch]] = {}
        """By role, the timeline that it is known to be in, and as what."""

    async def wake(self, branch: Branch) -> Dsn:
        row = await self.pool.fetchrow(SQL.found, branch.id, branch.organization_id)
        if row is None or row["endpoint_id"] is None:
            raise NotFound("the branch is gone, or nothing serves it")
        endpoint_id: UUID = row["endpoint_id"]
        if row["status"] != "active":
            # Of whoever sells it, and would have it run.
            await headroom.require_unspent(self.pool, self.plans, branch.organization_id, "compute_seconds")
        address = await connecting.wake(self.pool, self.computes, endpoint_id)
        if self.prepared.get(branch.role) != (row["timeline_id"], branch):
            await self.prepare(endpoint_id, branch)
            if len(self.prepared) >= PREPARED_MAX:
                self.prepared.clear()
            self.prepared[branch.role] = row["timeline_id"], branch
        self.computes.traffic(str(endpoint_id))
        return Dsn(
            "localhost",
            address.port,
            branch.role,
            branch.password,
            branch.database,
            "disable",
            socket=str(address.socket),
        )

    async def prepare(self, endpoint_id: UUID, branch: Branch) -> None:
        try:
            admin = await self.computes.admin(str(endpoint_id), branch.database)
            try:
                async with admin.transaction():
                    await allow(admin, branch)
            finally:
                await admin.close()
        except asyncpg.InvalidCatalogNameError:
            raise NotFound(f"the branch has no database {branch.database}") from None
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            # Its own people may be granting something at this moment, or it fell asleep again.
            raise ComputeUnavailable("the branch's server is busy; nothing was charged") from None


async def allow(admin: Connection, branch: Branch) -> None:
    """What was granted before is taken back first: the publisher may sell less now."""
    await admin.execute(SQL.alone)
    if not await admin.fetchval(SQL.has_role, branch.role):
        await admin.execute(await admin.fetchval(SQL.make_role, branch.role))
    verifier = passwords.verifier(branch.password)
    await admin.execute(await admin.fetchval(SQL.role, branch.role, verifier, branch.database))
    for grant in await admin.fetch(SQL.grants, branch.role, list(branch.tables)):
        await admin.execute(grant[0])
