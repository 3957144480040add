"""What is done about databases while nobody asks: sleep, history, and how much of the disk they take."""

import asyncio
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count

import asyncpg

from control.computes import bases, compute, derive, disks, files, verifiers
from control.computes.compute import Compute
from control.computes.disks import Fill
from control.computes.local import LocalProvider
from control.computes.provider import State, TimelineBusy, TimelineUnknown
from control.embedded.processes import StartFailed
from gateway.kit import tasks
from gateway.kit.problem import Refusal
from gateway.kit.sql import OUTAGES

log = logging.getLogger(__name__)

LOOKS_PER_UPKEEP = 12
LOOKS_PER_MEASURE = 6

# A full disk, say, or a server that ended just now: the next look is soon.
FAILURES = (Refusal, StartFailed, asyncpg.PostgresError, *OUTAGES)


async def keep(provider: LocalProvider, look_seconds: float) -> None:
    """Put to sleep what nobody uses, and look after what is kept of the past."""
    for number in count():
        try:
            if number % LOOKS_PER_MEASURE == 0:
                await look_at_disks(provider)
            await suspend_idle(provider)
            if number % LOOKS_PER_UPKEEP == LOOKS_PER_UPKEEP - 1:
                await upkeep(provider)
        except FAILURES as error:
            log.warning("looking after projects' data failed: %s", error)
        await asyncio.sleep(look_seconds)


@contextmanager
def apart(timeline: str) -> Iterator[None]:
    """What one project's server refuses, as one does whose people take all of its connections, keeps nobody
    from looking after the next one's.
    """
    try:
        yield
    except (TimelineUnknown, TimelineBusy):
        pass
    except FAILURES as error:
        log.warning("looking after %s failed: %s", timeline, error)


async def suspend_idle(provider: LocalProvider) -> None:
    """Stop what nobody uses."""
    for one in list(provider.computes.values()):
        with apart(one.timeline):
            if one.state is State.ACTIVE and not await compute.why_active(one):
                await tasks.finish(suspend(provider, one))


async def suspend(provider: LocalProvider, one: Compute) -> None:
    async with one.lock:
        # Somebody may have come while we looked and waited.
        if one.server is not None and not await compute.why_active(one):
            told = await verifiers.changed(one.server, one.verifiers)
            event = replace(one.event("suspended"), verifiers=told)
            await compute.stop(provider.store, one, "fast")
            provider.bulletin.tell(event)


async def look_at_disks(provider: LocalProvider) -> None:
    """Let the servers of a project know when it reaches its limit, and when it has room again."""
    provider.usages = await asyncio.to_thread(disks.look, provider.store)
    for one in list(provider.computes.values()):
        with apart(one.timeline):
            await look_at_disk(provider, one)


async def look_at_disk(provider: LocalProvider, one: Compute) -> None:
    project = disks.project_of(provider.store.place(one.timeline)) if one.server is not None else None
    if project is not None:
        fill = disks.fill_of(provider.usages, project)
        if fill is Fill.OVER or one.is_full != bool(fill):
            await tasks.finish(tell_fill(provider, one, fill))


async def tell_fill(provider: LocalProvider, one: Compute, fill: Fill) -> None:
    async with one.lock:
        if one.server is None:
            return
        event = one.event("full" if fill else "roomy")
        one.is_full = bool(fill)
        if fill is Fill.OVER:
            log.warning("%s is stopped: its project takes more of the disk than it may", one.timeline)
            await compute.stop(provider.store, one, "fast")
        else:
            place = provider.store.place(one.timeline)
            await asyncio.to_thread(files.write_rules, place, is_full=one.is_full)
            one.server.send(signal.SIGHUP)
        provider.bulletin.tell(event)


async def upkeep(provider: LocalProvider) -> None:
    """Keep the way back short and no longer than the window."""
    for timeline in await asyncio.to_thread(provider.store.timelines):
        with apart(timeline):
            await tasks.finish(keep_history(provider, timeline))


async def keep_history(provider: LocalProvider, timeline: str) -> None:
    place = provider.store.place(timeline)
    record = place.record()
    one = provider.computes.setdefault(timeline, Compute(timeline))
    async with one.lock, provider.file_lock(record.project):
        if not place.is_archived and await asyncio.to_thread(bases.is_due, place):
            if one.server is None:
                await asyncio.to_thread(bases.take_cold, place, provider.store.programs)
            else:
                connection = await derive.connect(one.server.sockets)
                try:
                    await bases.take_hot(place, connection)
                finally:
                    await connection.close()
        await asyncio.to_thread(bases.trim, place, timedelta(seconds=record.retention_seconds))
