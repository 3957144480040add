"""The server of one timeline, the endpoints that it serves, its states, and what moves it between them."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from control.computes import archives, cgroups, files, idle, postmaster, programs, shortage, slots, verifiers
from control.computes.files import Place, Store
from control.computes.postmaster import Postmaster
from control.computes.provider import (
    Address,
    ComputeEvent,
    ComputeSpec,
    ComputeUnavailable,
    Kind,
    SlotsLeft,
    State,
    StopMode,
)
from control.computes.units import limits
from control.embedded.processes import StartFailed
from gateway.kit.sql import OUTAGES

log = logging.getLogger(__name__)

NOT_STARTED = "the database did not start; the log says why"
READ_ONLY = {"default_transaction_read_only": "on"}

PAUSE_SECONDS_MIN = 0.2
PAUSE_SECONDS_MAX = 30.0
HEALTHY_SECONDS = 10.0

Tell = Callable[[ComputeEvent], None]


@dataclass(slots=True)
class Compute:
    """Changed under ``lock`` only: whoever comes while it stops waits, and finds it started again."""

    timeline: str
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    endpoints: dict[str, ComputeSpec] = field(default_factory=dict)
    server: Postmaster | None = None
    state: State = State.IDLE
    since: datetime = field(default_factory=programs.utc_now)
    sessions: set[object] = field(default_factory=set)
    used_at: float = 0.0
    """By the event loop's clock."""
    moved: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Bytes to and from clients, by endpoint, since the server was ready."""
    verifiers: Mapping[str, str | None] | None = None
    """By role, as they were when the server was ready."""
    is_full: bool = False
    """Whether sessions are to write nothing, when it starts."""

    def become(self, state: State) -> None:
        self.state, self.since = state, programs.utc_now()

    def other_specs(self, endpoint: str) -> list[ComputeSpec]:
        return [spec for name, spec in self.endpoints.items() if name != endpoint]

    def event(self, kind: Kind) -> ComputeEvent:
        return ComputeEvent(
            kind,
            self.timeline,
            frozenset(self.endpoints),
            programs.utc_now(),
            dict(self.moved),
            since=self.since if self.state is State.ACTIVE else None,
        )


async def start(
    store: Store, compute: Compute, history: asyncio.Lock, endpoint: str, spec: ComputeSpec
) -> Address:
    """Under the compute's lock."""
    place = store.place(compute.timeline)
    if compute.server is None:
        compute.endpoints[endpoint] = spec
        compute.become(State.STARTING)
        try:
            with shortage.reported(NOT_STARTED):
                if place.is_archived:
                    async with history:
                        await asyncio.to_thread(archives.unarchive, place)
                await launch(store, compute, place)
        except BaseException:
            compute.endpoints.pop(endpoint, None)
            compute.become(State.IDLE)
            raise
    elif endpoint not in compute.endpoints:
        compute.endpoints[endpoint] = spec
        write_endpoints(place, compute.endpoints)
    compute.used_at = asyncio.get_running_loop().time()
    return address(compute, endpoint)


async def launch(store: Store, compute: Compute, place: Place) -> None:
    largest = largest_of(compute)
    if not largest.is_logical and (left := await asyncio.to_thread(slots.logical, place)):
        raise SlotsLeft(left)
    # Before the process: one that nobody knows of could not be taken over.
    await asyncio.to_thread(write_endpoints, place, compute.endpoints)
    record = place.record()
    compute.moved = {}
    try:
        compute.server = await postmaster.launch(store, place, record.uid, largest, is_full=compute.is_full)
    except StartFailed as error:
        log.error("%s", error)
        raise shortage.unavailable(NOT_STARTED, postmaster.last_lines(place)) from None
    compute.become(State.ACTIVE)


def largest_of(compute: Compute) -> ComputeSpec:
    return max(compute.endpoints.values(), key=lambda spec: (spec.is_logical, spec.units))


def address(compute: Compute, endpoint: str) -> Address:
    assert compute.server is not None
    is_read_only = compute.endpoints[endpoint].is_read_only
    return Address(compute.server.sockets, parameters=READ_ONLY if is_read_only else {})


async def stop(store: Store, compute: Compute, mode: StopMode) -> None:
    """Under the compute's lock."""
    server = compute.server
    if server is None:
        return
    compute.become(State.STOPPING)
    # First, so that the news of its end does not look like a crash.
    compute.server = None
    await server.stop(mode)
    await asyncio.to_thread(postmaster.clear_up, store, compute.timeline, server)
    (store.place(compute.timeline).root / "compute.json").unlink(missing_ok=True)
    compute.endpoints = {}
    compute.sessions = set()
    compute.moved = {}
    # What the next server begins with is found out when it has begun.
    compute.verifiers = None
    compute.become(State.IDLE)


async def watch(store: Store, compute: Compute, server: Postmaster | None, tell: Tell) -> None:
    """Start it again when it ends by itself and somebody was connected; else whoever comes next does."""
    pause = PAUSE_SECONDS_MIN
    loop = asyncio.get_running_loop()
    while server is not None:
        begun = loop.time()
        await confine(store, compute, server)
        found = await verifiers.look(server)
        if compute.server is server:
            compute.verifiers = found
        await server.exited.wait()
        if loop.time() - begun < HEALTHY_SECONDS:
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)
        async with compute.lock:
            # Otherwise it was stopped, and perhaps another one is there.
            server = await revive(store, compute, tell) if compute.server is server else None


async def confine(store: Store, compute: Compute, server: Postmaster) -> None:
    """When it is ready and nobody waits for it: the kernel takes its time to move each of its processes."""
    if compute.endpoints:
        bounds = limits(largest_of(compute).units)
        await asyncio.to_thread(cgroups.hold, store.groups, compute.timeline, server.pid, bounds)
    if compute.server is None:
        # It was stopped meanwhile, and what it had was cleared up before.
        await asyncio.to_thread(cgroups.let_go, store.groups, compute.timeline)


async def revive(store: Store, compute: Compute, tell: Tell) -> Postmaster | None:
    log.warning("the server of %s ended by itself", compute.timeline)
    tell(compute.event("exited"))
    if compute.sessions or any(spec.suspend_seconds == 0 for spec in compute.endpoints.values()):
        compute.become(State.STARTING)
        try:
            await launch(store, compute, store.place(compute.timeline))
        except ComputeUnavailable:
            tell(compute.event("failed"))
        else:
            tell(compute.event("ready"))
            return compute.server
    await stop(store, compute, "immediate")
    return None


async def why_active(compute: Compute) -> tuple[str, ...]:
    """Empty when it may sleep now."""
    if compute.server is None:
        return ()
    waits = [spec.suspend_seconds for spec in compute.endpoints.values()]
    if 0 in waits:
        return ("it is set never to sleep",)
    quiet = asyncio.get_running_loop().time() - compute.used_at
    if quiet < max(waits):
        return (f"it was used {int(quiet)} seconds ago, and sleeps after {max(waits)}",)
    try:
        return await idle.reasons(compute.server, max(waits))
    except OUTAGES:
        # Full, or just ending: not the moment to stop it.
        return ("it does not answer now",)


def write_endpoints(place: Place, endpoints: dict[str, ComputeSpec]) -> None:
    rows = {
        name: {
            "units": str(spec.units), "suspend_seconds": spec.suspend_seconds,
            "is_read_only": spec.is_read_only, "is_logical": spec.is_logical,
        }
        for name, spec in endpoints.items()
    }  # fmt: skip
    # Of use only while its process lives, which no power cut leaves: so not flushed, which a wake would feel.
    partial = place.root / "compute.json.new"
    partial.write_text(json.dumps(rows))
    partial.chmod(0o600)
    partial.rename(place.root / "compute.json")


def adopt(store: Store, timeline: str) -> Compute | None:
    """As it was left by the process before this one."""
    place = store.place(timeline)
    path = place.root / "compute.json"
    if not path.exists():
        return None
    server = postmaster.adopt(store, place)
    if server is None:
        # It ended meanwhile, or had not become ready: the next start waits for what is left of it.
        path.unlink()
        return None
    rows = json.loads(path.read_text())
    endpoints = {name: ComputeSpec(**{**row, "units": Decimal(row["units"])}) for name, row in rows.items()}
    compute = Compute(timeline, endpoints=endpoints, server=server, is_full=files.is_full(place))
    compute.become(State.ACTIVE)
    compute.used_at = asyncio.get_running_loop().time()
    return compute
