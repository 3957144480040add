"""The provider for one machine: data directories, and a PostgreSQL process for each timeline in use."""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from control.computes import archives, bases, compute, derive, describing, programs
from control.computes.bulletin import Bulletin
from control.computes.compute import Compute
from control.computes.files import Place, Record, Store
from control.computes.provider import (
    HEAD,
    Address,
    At,
    Capabilities,
    ComputeEvent,
    ComputeSpec,
    ComputeState,
    ComputeUnavailable,
    State,
    StopMode,
    TimelineBusy,
    TimelineInfo,
    TimelineSpec,
    TimelineUnknown,
    Unsupported,
)  # fmt: skip
from gateway.kit import tasks
from gateway.kit.sql import Connection

log = logging.getLogger(__name__)


@dataclass(slots=True)
class LocalProvider:
    store: Store
    computes: dict[str, Compute] = field(default_factory=dict)
    file_locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    """By project: a branch reads its parent's history, which must stay as it is meanwhile."""
    crew: tasks.Crew = field(default_factory=tasks.Crew)
    bulletin: Bulletin = field(default_factory=Bulletin)

    async def capabilities(self) -> Capabilities:
        return Capabilities(
            past_lsn=True, past_timestamp=True, instant_copy=self.store.shares_blocks, suspend=True,
            archive=True, logical=True, ro_replicas=False, autoscale=False, resolve=False,
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
            record = Record(
                timeline, spec.project, self.store.uid_of(spec.project), source[0] if source else None, None,
                describing.parent_at(source), programs.utc_now().isoformat(), spec.retention_seconds,
            )  # fmt: skip
            try:
                await (self.derive(record, *source) if source else self.create_empty(record))
            except OSError as error:
                log.error("timeline %s could not be made: %s", timeline, error)
                raise ComputeUnavailable("the data could not be copied; the log says why") from None
            finally:
                # Nothing is there any more if it went well.
                partial = place.root.with_name(f"{timeline}.new")
                await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)

    async def create_empty(self, record: Record) -> None:
        partial = await asyncio.to_thread(self.store.begin, record.id)
        await asyncio.to_thread(derive.copy_template, self.store, partial, record.uid)
        await asyncio.to_thread(derive.complete, self.store, partial, record)

    async def derive(self, record: Record, source: str, at: At) -> None:
        if at == HEAD:
            await self.flush(source)
        async with self.file_lock(self.store.place(source).record().project):
            await derive.derive(
                self.store, record, *await asyncio.to_thread(derive.locate, self.store, source, at)
            )

    async def flush(self, timeline: str) -> None:
        """What sessions with ``synchronous_commit = off`` committed is in its files too."""
        found = self.computes.get(timeline)
        if found is not None and found.server is not None:
            connection = await derive.connect(found.server.sockets)
            try:
                await connection.execute(bases.SQL.flush)
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
            await tasks.finish(asyncio.to_thread(archives.archive, place, self.store.programs))

    async def unarchive(self, timeline: str) -> None:
        async with self.still(timeline) as place:
            await tasks.finish(asyncio.to_thread(archives.unarchive, place))

    async def stat(self, timeline: str) -> TimelineInfo:
        found = self.computes.get(timeline)
        head = None
        if found is not None and found.server is not None:
            connection = await derive.connect(found.server.sockets)
            try:
                head = await connection.fetchval(bases.SQL.head)
            finally:
                await connection.close()
        return await asyncio.to_thread(describing.describe, self.store, timeline, head)

    async def set_retention(self, timeline: str, seconds: int) -> None:
        place = self.store.place(timeline)
        async with self.file_lock(place.record().project):
            await asyncio.to_thread(place.remember, retention_seconds=seconds)

    async def resolve(self, timeline: str, at: At) -> At:
        raise Unsupported("resolve")

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
            before = one.server
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
        return ComputeState(
            one.state, one.timeline, one.since, await compute.why_active(one), len(one.sessions)
        )

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

    def traffic(self, endpoint: str) -> None:
        one = self.serving(endpoint)
        if one is not None:
            one.used_at = asyncio.get_running_loop().time()

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

    async def suspend_idle(self) -> None:
        """Stop what nobody uses."""
        for one in list(self.computes.values()):
            if one.state is State.ACTIVE and not await compute.why_active(one):
                await tasks.finish(self.suspend(one))

    async def suspend(self, one: Compute) -> None:
        async with one.lock:
            # Somebody may have come while we looked and waited.
            if one.server is not None and not await compute.why_active(one):
                event = one.event("suspended")
                await compute.stop(self.store, one, "fast")
                self.bulletin.tell(event)

    async def upkeep(self) -> None:
        """Keep the way back short and no longer than the window."""
        for timeline in await asyncio.to_thread(self.store.timelines):
            with suppress(TimelineUnknown, TimelineBusy):
                await tasks.finish(self.keep_history(timeline))

    async def keep_history(self, timeline: str) -> None:
        place = self.store.place(timeline)
        record = place.record()
        one = self.computes.setdefault(timeline, Compute(timeline))
        async with one.lock, self.file_lock(record.project):
            if not place.is_archived and await asyncio.to_thread(bases.is_due, place):
                if one.server is None:
                    await asyncio.to_thread(bases.take_cold, place, self.store.programs)
                else:
                    connection = await derive.connect(one.server.sockets)
                    try:
                        await bases.take_hot(place, connection)
                    finally:
                        await connection.close()
            await asyncio.to_thread(bases.trim, place, timedelta(seconds=record.retention_seconds))

    async def stop_all(self) -> None:
        async def stop_one(one: Compute) -> None:
            for endpoint in list(one.endpoints):
                await self.stop(endpoint)

        await asyncio.gather(*map(stop_one, list(self.computes.values())))
