"""What the wire proxy knows of endpoints and roles: their rows, and a little memory."""

import asyncio
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from ipaddress import ip_network
from typing import Generic, TypeVar
from uuid import UUID

import asyncpg
import structlog

from config.plans import Plan
from control.computes.provider import ComputeProvider, DiskFull
from control.postgres import connecting, contents
from control.quotas import headroom
from gateway.identify import QuotaExceeded
from gateway.kit.problem import Refusal
from gateway.kit.sql import OUTAGES, Pool, Statements
from gateway.kit.tasks import Crew
from gateway.pgwire.computes import Address, Endpoint, NotAllowed, NotStarted

SQL = Statements(__file__.replace("facts.py", "pgproxy.py"))

REMEMBER_SECONDS = 1.0
REMEMBERED_MAX = 10_000
# Whoever guesses names makes us look into a server this often and no more.
LOOK_SECONDS = 1.0

log = structlog.get_logger(__name__)

Name = TypeVar("Name", bound=Hashable)
Value = TypeVar("Value")


class Memory(Generic[Name, Value]):
    """For a moment, and bounded: strangers choose what is asked for."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.kept: dict[Name, tuple[float, Value]] = {}

    def recall(self, name: Name) -> Value | None:
        at, value = self.kept.get(name, (0.0, None))
        return value if asyncio.get_running_loop().time() - at < self.seconds else None

    def keep(self, name: Name, value: Value) -> None:
        self.kept.pop(name, None)
        while len(self.kept) >= REMEMBERED_MAX:
            self.kept.pop(next(iter(self.kept)))
        self.kept[name] = asyncio.get_running_loop().time(), value


class Facts:
    """``gateway.pgwire.computes.Computes``, of rows and of whoever runs the servers."""

    def __init__(self, pool: Pool, computes: ComputeProvider, plans: Sequence[Plan]) -> None:
        self.pool, self.computes, self.plans = pool, computes, plans
        self.endpoints: Memory[str, tuple[Endpoint | None]] = Memory(REMEMBER_SECONDS)
        self.refusals: Memory[tuple[UUID, str], tuple[str | None]] = Memory(REMEMBER_SECONDS)
        self.looks: Memory[UUID, bool] = Memory(LOOK_SECONDS)
        self.crew = Crew()

    async def close(self) -> None:
        await self.crew.close()

    async def find(self, label: str) -> Endpoint | None:
        known = self.endpoints.recall(label)
        if known is None:
            row = await self.fetch(SQL.find, label)
            known = (None if row is None else endpoint_of(row),)
            self.endpoints.keep(label, known)
        return known[0]

    async def verifier(self, endpoint: Endpoint, role: str) -> str | None:
        """As it is now; but one who was refused a moment ago is compared with the same again."""
        name = (endpoint.branch_id, role)
        known = self.refusals.recall(name)
        if known is None:
            known = (await self.read_verifier(endpoint, role),)
            if known[0] is None:
                self.refusals.keep(name, known)
        return known[0]

    async def read_verifier(self, endpoint: Endpoint, role: str) -> str | None:
        row = await self.fetch(SQL.verifier, endpoint.branch_id, role)
        if row is None and await self.look(endpoint, role):
            # It may have been made by SQL since we looked last.
            row = await self.fetch(SQL.verifier, endpoint.branch_id, role)
        return None if row is None else row["verifier"]

    def refused(self, endpoint: Endpoint, role: str) -> None:
        """Its password may have been changed by SQL: whoever comes next is compared with what is so now."""
        self.crew.start(self.look_again(endpoint, role))

    async def look_again(self, endpoint: Endpoint, role: str) -> None:
        row = await self.fetch(SQL.verifier, endpoint.branch_id, role)
        text = None if row is None else row["verifier"]
        if await self.look(endpoint, role):
            row = await self.fetch(SQL.verifier, endpoint.branch_id, role)
            text = None if row is None else row["verifier"]
        self.refusals.keep((endpoint.branch_id, role), (text,))

    async def look(self, endpoint: Endpoint, role: str) -> bool:
        """Bring a role's row up to what the server has, if it is awake: nothing is woken for a guess."""
        if self.looks.recall(endpoint.branch_id) is not None:
            return False
        self.looks.keep(endpoint.branch_id, True)  # noqa: FBT003
        if not (row := await self.fetch(SQL.is_active, endpoint.id)) or not row[0]:
            return False
        try:
            return await contents.learn(self.pool, self.computes, endpoint.branch_id, role)
        except (Refusal, asyncpg.PostgresError, *OUTAGES) as error:
            log.warning("pgproxy.not_looked", endpoint=endpoint.label, reason=str(error))
            return False

    async def fetch(self, statement: str, *arguments: object) -> asyncpg.Record | None:
        try:
            return await self.pool.fetchrow(statement, *arguments)
        except OUTAGES:
            raise NotStarted("the proxy's own database is away; try again in a moment") from None

    async def wake(self, endpoint: Endpoint) -> Address:
        try:
            asleep = await self.pool.fetchrow(SQL.asleep, endpoint.id)
            if asleep is not None:
                # As it is now: a plan that was changed a moment ago counts.
                await headroom.require_unspent(
                    self.pool, self.plans, asleep["organization_id"], "compute_seconds"
                )
            found = await connecting.wake(self.pool, self.computes, endpoint.id)
        except QuotaExceeded as error:
            raise NotAllowed(str(error)) from None
        except DiskFull as error:
            raise NotStarted(str(error), "53100") from None
        except Refusal as error:
            raise NotStarted(str(error)) from None
        except OUTAGES:
            raise NotStarted("the proxy's own database is away; try again in a moment") from None
        return Address(found.socket, found.parameters)

    def session(self, endpoint: Endpoint) -> AbstractAsyncContextManager[None]:
        return self.entered(str(endpoint.id))

    @asynccontextmanager
    async def entered(self, endpoint: str) -> AsyncIterator[None]:
        session = self.computes.session(endpoint)
        try:
            await session.__aenter__()
        except Refusal as error:
            raise NotStarted(str(error)) from None
        try:
            yield
        finally:
            with suppress(Refusal):
                await session.__aexit__(None, None, None)

    def traffic(self, endpoint: Endpoint, received: int, sent: int) -> None:
        self.computes.traffic(str(endpoint.id), sent=sent, received=received)


def endpoint_of(row: asyncpg.Record) -> Endpoint:
    return Endpoint(
        row["id"], row["label"], row["branch_id"], row["timeline_id"],
        is_disabled=row["is_disabled"],
        is_pooler_enabled=row["pooler_enabled"],
        pooler_mode=row["pooler_mode"],
        allowed=tuple(ip_network(one) for one in row["allowed"]),
        is_public_blocked=row["block_public_connections"],
    )  # fmt: skip
