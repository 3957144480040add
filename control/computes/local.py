"""The provider for one machine: data directories, and a PostgreSQL process for each timeline in use."""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from control.computes import (
    archives,
    bases,
    commits,
    compute,
    derive,
    describing,
    disks,
    programs,
    shortage,
    slots,
)
from control.computes.bulletin import Bulletin
from control.computes.compute import Compute
from control.computes.disks import Fill, Usage
from control.computes.files import Place, Record, Store
from control.computes.provider import (
    HEAD,
    Address,
    At,
    BeyondHistory,
    Capabilities,
    ComputeEvent,
    ComputeSpec,
    ComputeState,
    ComputeUnavailable,
    DiskFull,
    Resolved,
    SlotsLeft,
    State,
    StopMode,
    TimelineBusy,
    TimelineInfo,
    TimelineSpec,
    TimelineUnknown,
)  # fmt: skip
from control.computes.turns import Turns
from gateway.kit import tasks
from gateway.kit.sql import Connection

log = logging.getLogger(__name__)


@dataclass(slots=True)
class LocalProvider:
    store: Store
    computes: dict[str, Compute] = field(default_factory=dict)
    file_locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    """By project: a branch reads its parent's history, which must stay as it is meanwhile."""
    turns: Turns = field(default_factory=Turns)
    """Of those who look into a project's log, each with a process that reads all that a tenant wrote."""
    crew: tasks.Crew = field(default_factory=tasks.Crew)
    bulletin: Bulletin = field(default_factory=Bulletin)
    usages: dict[str, Usage] = field(default_factory=dict)
    """How full the projects are that have a limit, as of the last look."""

    async def capabilities(self) -> Capabilities:
        return Capabilities(
            past_lsn=True, past_timestamp=True, instant_copy=self.store.shares_blocks, suspend=True,
            archive=True, logical=True, ro_replicas=False, autoscale=False, resolve=True,
        )  # fmt: skip

    async def create_timeline(
        self, timeline: str, spec: TimelineSpec, source: tuple[str, At] | None = None
    ) -> TimelineInfo:
        # To its end even when nobody waits any more: a copy goes on in its thread, and must not be pulled
        # away from under it.
        await tasks.finish(self.create_once(timeline, spec, source))
        return await self.stat(timeline)

    async def create_once(self, timeline: str, spec: TimelineSpec, source: tuple[str, At] | None) -> None:
        place = self.store.place(timeline)
        async with self.computes.setdefault(timeline, Compute(timeline)).lock:
            if place.root.is_dir():
                return
            if disks.fill_of(self.usages, spec.project):
                raise DiskFull(f"no branch is made of a project at the limit of its disk: {disks.WAY_OUT}")
            try:
                with shortage.reported("the data could not be copied; the log says why"):
                    record = Record(
                        timeline, spec.project, self.store.uid_of(spec.project),
                        source[0] if source else None, None, programs.utc_now().isoformat(),
                        spec.retention_seconds,
                    )  # fmt: skip
                    await (self.derive(record, *source) if source else self.create_empty(record))
            finally:
                # Nothing is there any more if it went well.
                partial = place.root.with_name(f"{timeline}.new")
                await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)

    async def create_empty(self, record: Record) -> None:
        partial = await asyncio.to_thread(self.store.begin, record.id)
        await asyncio.to_thread(derive.copy_template, self.store, partial, record.uid)
        await asyncio.to_thread(derive.complete, self.store, partial, record)

    async def derive(self, record: Record, source: str, at: At) -> None:
        if at.lsn is not None and (there := await self.reach(source, at)).kind == "future":
            raise BeyondHistory(f"the history that it was to be made of ends at {there.lsn}")
        if at == HEAD:
            # What sessions with ``synchronous_commit = off`` committed is in its files too.
            await self.ask(source, bases.SQL.flush)
        elif at.timestamp is not None:
            found = await self.resolve(source, at)
            if found.kind == "past":
                raise bases.refuse_before(self.store.place(source))
            at = At(lsn=found.lsn)
        async with self.file_lock(self.store.place(source).record().project):
            await derive.derive(
                self.store, record, *await asyncio.to_thread(derive.locate, self.store, source, at)
            )

    async def ask(self, timeline: str, statement: str) -> str | None:
        """Its server; None where none runs."""
        found = self.computes.get(timeline)
        if found is None or found.server is None:
            return None
        connection = await derive.connect(found.server.sockets)
        try:
            return str(await connection.fetchval(statement))
        finally:
            await connection.close()

    async def delete_timeline(self, timeline: str) -> None:
        place = self.store.place(timeline)
        if not place.root.is_dir():
            return
        async with self.still(timeline):
            await tasks.finish(asyncio.to_thread(self.store.discard, timeline))
        self.computes.pop(timeline, None)

    async def archive(self, timeline: str) -> None:
        async with self.still(timeline) as place:
            with shortage.reported("the data could not be archived; the log says why"):
                await tasks.finish(asyncio.to_thread(archives.archive, place, self.store.programs))

    async def unarchive(self, timeline: str) -> None:
        async with self.still(timeline) as place:
            with shortage.reported("the data could not be unpacked; the log says why"):
                await tasks.finish(asyncio.to_thread(archives.unarchive, place))

    async def stat(self, timeline: str) -> TimelineInfo:
        head = await self.ask(timeline, bases.SQL.head)
        return await asyncio.to_thread(describing.describe, self.store, timeline, head)

    async def set_retention(self, timeline: str, seconds: int) -> None:
        place = self.store.place(timeline)
        async with self.file_lock(place.record().project):
            await asyncio.to_thread(place.remember, retention_seconds=seconds)

    async def resolve(self, timeline: str, at: At) -> Resolved:
        async with self.turns.of(self.store.place(timeline).record().project):
            head = (await self.stat(timeline)).head_lsn
            if at.timestamp is not None:
                return await commits.at_time(self.store, timeline, at.timestamp, head)
            return await commits.at_lsn(self.store, timeline, at.lsn or head, head)

    async def reach(self, timeline: str, at: At) -> Resolved:
        end = await self.ask(timeline, bases.SQL.written)
        return await asyncio.to_thread(bases.reach, self.store, timeline, at, end)

    async def slots(self, timeline: str) -> tuple[str, ...]:
        place = self.store.place(timeline)
        place.record()
        return await asyncio.to_thread(slots.logical, place)

    async def limit_disk(self, project: str, size: int | None) -> None:
        # Here and not in a thread: one file has the limits of all projects.
        disks.limit(self.store, project, size)

    async def start(self, endpoint: str, timeline: str, spec: ComputeSpec) -> Address:
        record = self.store.place(timeline).record()
        elsewhere = self.serving(endpoint)
        if elsewhere is not None and elsewhere.timeline != timeline:
            raise TimelineBusy("the endpoint serves other data: stop it first")
        return await tasks.finish(self.start_one(endpoint, timeline, record.project, spec))

    async def start_one(self, endpoint: str, timeline: str, project: str, spec: ComputeSpec) -> Address:
        one = self.computes.setdefault(timeline, Compute(timeline))
        async with one.lock:
            if self.computes.get(timeline) is not one:
                raise TimelineUnknown(f"there is no timeline {timeline}")
            before, fill = one.server, disks.fill_of(self.usages, project)
            if before is None and fill is Fill.OVER:
                raise DiskFull(f"the project takes more of the disk than it may: {disks.WAY_OUT}")
            if before is None:
                one.is_full = bool(fill)
            address = await compute.start(self.store, one, self.file_lock(project), endpoint, spec)
            if one.server is not before:
                self.attend(one)
                self.bulletin.tell(one.event("ready"))
            return address

    async def stop(self, endpoint: str, mode: StopMode = "fast") -> None:
        one = self.serving(endpoint)
        if one is not None:
            await tasks.finish(self.stop_one(one, endpoint, mode))

    async def stop_one(self, one: Compute, endpoint: str, mode: StopMode) -> None:
        async with one.lock:
            if one.endpoints.keys() - {endpoint}:
                del one.endpoints[endpoint]
                compute.write_endpoints(self.store.place(one.timeline), one.endpoints)
                return
            event = one.event("stopped")
            await compute.stop(self.store, one, mode)
            self.bulletin.tell(event)

    async def restart(self, endpoint: str, spec: ComputeSpec) -> Address:
        """With other limits, say. Whoever shares the server is restarted too, and stays."""
        one = self.serving(endpoint)
        if one is None:
            raise ComputeUnavailable("the endpoint is not running")
        is_logical = any(each.is_logical for each in (spec, *one.other_specs(endpoint)))
        # Before it is stopped: with slots left it would not start again.
        if not is_logical and (left := await self.slots(one.timeline)):
            raise SlotsLeft(left)
        others = {name: other for name, other in one.endpoints.items() if name != endpoint}
        for name in others:
            await self.stop(name)
        await self.stop(endpoint)
        address = await self.start(endpoint, one.timeline, spec)
        for name, other in others.items():
            await self.start(name, one.timeline, other)
        return address

    async def status(self, endpoint: str) -> ComputeState:
        one = self.serving(endpoint)
        if one is None:
            return ComputeState(State.IDLE)
        why, moved = await compute.why_active(one), one.moved.get(endpoint, (0, 0))
        return ComputeState(one.state, one.timeline, one.since, why, len(one.sessions), *moved)

    @asynccontextmanager
    async def session(self, endpoint: str) -> AsyncIterator[None]:
        one, token = self.serving(endpoint), object()
        if one is None:
            raise ComputeUnavailable("the endpoint is not running")
        one.sessions.add(token)
        try:
            yield
        finally:
            one.sessions.discard(token)

    def traffic(self, endpoint: str, sent: int = 0, received: int = 0) -> None:
        one = self.serving(endpoint)
        if one is not None:
            one.used_at = asyncio.get_running_loop().time()
            before = one.moved.get(endpoint, (0, 0))
            one.moved[endpoint] = before[0] + sent, before[1] + received

    def events(self, after: str | None = None) -> AsyncIterator[ComputeEvent]:
        return self.bulletin.follow(after)

    def address(self, endpoint: str) -> Address:
        one = self.serving(endpoint)
        if one is None or one.server is None:
            raise ComputeUnavailable("the endpoint is not running")
        return compute.address(one, endpoint)

    async def admin(self, endpoint: str, database: str = "postgres") -> Connection:
        return await derive.connect(self.address(endpoint).sockets, database)

    def serving(self, endpoint: str) -> Compute | None:
        return next((one for one in self.computes.values() if endpoint in one.endpoints), None)

    def file_lock(self, project: str) -> asyncio.Lock:
        return self.file_locks.setdefault(project, asyncio.Lock())

    @asynccontextmanager
    async def still(self, timeline: str) -> AsyncIterator[Place]:
        """While it is entered nobody starts it or reads its history."""
        place = self.store.place(timeline)
        project = place.record().project
        one = self.computes.setdefault(timeline, Compute(timeline))
        async with one.lock, self.file_lock(project):
            if one.server is not None:
                raise TimelineBusy("an endpoint runs on it: stop it first")
            yield place

    def attend(self, one: Compute) -> None:
        self.crew.start(compute.watch(self.store, one, one.server, self.bulletin.tell))

    async def stop_all(self) -> None:
        async def stop_one(one: Compute) -> None:
            for endpoint in list(one.endpoints):
                await self.stop(endpoint)

        await asyncio.gather(*map(stop_one, list(self.computes.values())))
