"""The provider that an agent serves, whose interface this is in every other process.

Calls may be repeated, so that they are, for a while, when the agent ends under them: its successor takes the
servers over and knows the rest from the disk.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
from aiohttp import hdrs

from control.computes import derive, wire
from control.computes.provider import (
    HEAD,
    Address,
    At,
    Capabilities,
    ComputeEvent,
    ComputeSpec,
    ComputeState,
    ComputeUnavailable,
    Resolved,
    StopMode,
    TimelineInfo,
    TimelineSpec,
)
from control.computes.tunnel import Tunnels
from gateway.kit.problem import Refusal
from gateway.kit.sql import Connection
from gateway.kit.tasks import Crew

# An agent that is replaced is back sooner. Nobody is kept waiting for longer by one that is not.
AWAY_SECONDS_MAX = 10.0
PAUSE_SECONDS = 0.1
QUICK_SECONDS = 30.0
# A copy of much data, or a server that recovers from a crash.
LONG_SECONDS = 1000.0
TRAFFIC_SECONDS = 1.0

HELD = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=3 * wire.BEAT_SECONDS)

PROBE = aiohttp.ClientTimeout(total=2)

BROKEN = (aiohttp.ClientError, OSError, TimeoutError)


class AgentAway(ComputeUnavailable):
    """It did not answer; what it would have said is not known."""


class RemoteProvider:
    def __init__(self, url: str, key: str | None = None) -> None:
        """Inside a running loop."""
        is_socket = url.startswith("unix:")
        self.base = "http://agent" if is_socket else url
        path = url.removeprefix("unix:")
        headers = {} if key is None else {hdrs.AUTHORIZATION: f"Bearer {key}"}
        # Each session of a client holds one, so that they are not counted.
        connector = aiohttp.UnixConnector(path, limit=0) if is_socket else aiohttp.TCPConnector(limit=0)
        self.http = aiohttp.ClientSession(connector=connector, headers=headers)
        self.crew = Crew()
        self.moved: dict[str, tuple[int, int]] = {}
        self.tunnels = None if is_socket else Tunnels(self.http, self.base)

    async def close(self) -> None:
        await self.crew.close()
        if self.tunnels is not None:
            await self.tunnels.close()
        await self.http.close()

    async def capabilities(self) -> Capabilities:
        return wire.read(Capabilities, await self.ask("GET", "/capabilities"))

    async def create_timeline(
        self, timeline: str, spec: TimelineSpec, source: tuple[str, At] | None = None
    ) -> TimelineInfo:
        name, at = (None, HEAD) if source is None else source
        asked = wire.Creation(spec, name, at)
        return wire.read(TimelineInfo, await self.ask("PUT", f"/timelines/{timeline}", asked, LONG_SECONDS))

    async def delete_timeline(self, timeline: str) -> None:
        await self.ask("DELETE", f"/timelines/{timeline}", seconds=LONG_SECONDS)

    async def archive(self, timeline: str) -> None:
        await self.ask("POST", f"/timelines/{timeline}/archive", seconds=LONG_SECONDS)

    async def unarchive(self, timeline: str) -> None:
        await self.ask("POST", f"/timelines/{timeline}/unarchive", seconds=LONG_SECONDS)

    async def stat(self, timeline: str) -> TimelineInfo:
        return wire.read(TimelineInfo, await self.ask("GET", f"/timelines/{timeline}"))

    async def set_retention(self, timeline: str, seconds: int) -> None:
        # Not while a branch is made of it, which takes its time.
        asked = wire.Retention(seconds)
        await self.ask("POST", f"/timelines/{timeline}/retention", asked, LONG_SECONDS)

    async def resolve(self, timeline: str, at: At) -> Resolved:
        return wire.read(Resolved, await self.ask("POST", f"/timelines/{timeline}/resolve", at, LONG_SECONDS))

    async def reach(self, timeline: str, at: At) -> Resolved:
        return wire.read(Resolved, await self.ask("POST", f"/timelines/{timeline}/reach", at))

    async def start(self, endpoint: str, timeline: str, spec: ComputeSpec) -> Address:
        asked = wire.Start(timeline, spec)
        return await self.located("POST", endpoint, "start", asked)

    async def stop(self, endpoint: str, mode: StopMode = "fast") -> None:
        await self.ask("POST", f"/endpoints/{endpoint}/stop", wire.Stop(mode), LONG_SECONDS)

    async def restart(self, endpoint: str, spec: ComputeSpec) -> Address:
        asked = wire.Restart(spec)
        return await self.located("POST", endpoint, "restart", asked)

    async def status(self, endpoint: str) -> ComputeState:
        return wire.read(ComputeState, await self.ask("GET", f"/endpoints/{endpoint}"))

    @asynccontextmanager
    async def session(self, endpoint: str) -> AsyncIterator[None]:
        path = f"/endpoints/{endpoint}/session"
        first = await self.patiently("GET", path, None, HELD)
        forget = self.crew.start(self.hold(path, first))
        try:
            yield
        finally:
            forget()
            first.close()

    async def hold(self, path: str, response: aiohttp.ClientResponse) -> None:
        """Hold the request open, and another one at the successor of an agent that ended."""
        while True:
            try:
                async with response:
                    async for _ in response.content.iter_any():
                        pass
            except BROKEN:
                pass
            try:
                response = await self.patiently("GET", path, None, HELD)
            except AgentAway:
                continue
            except Refusal:
                # The server was stopped, and who was connected to it with it.
                return

    async def slots(self, timeline: str) -> tuple[str, ...]:
        return wire.read(wire.Slots, await self.ask("GET", f"/timelines/{timeline}/slots")).names

    async def limit_disk(self, project: str, size: int | None) -> None:
        asked = wire.DiskLimit(size)
        await self.ask("PUT", f"/projects/{project}/disk-limit", asked, LONG_SECONDS)

    def traffic(self, endpoint: str, sent: int = 0, received: int = 0) -> None:
        if not self.moved:
            self.crew.start(self.tell_traffic())
        before = self.moved.get(endpoint, (0, 0))
        self.moved[endpoint] = before[0] + sent, before[1] + received

    async def tell_traffic(self) -> None:
        """Once for all that moves in a while."""
        await asyncio.sleep(TRAFFIC_SECONDS)
        told, self.moved = wire.Traffic(self.moved), {}
        try:
            await self.ask("POST", "/traffic", told)
        except Refusal:
            # Not told again: it may have been heard, and nobody is to pay for the same bytes twice.
            return

    async def events(self, after: str | None = None) -> AsyncIterator[ComputeEvent]:
        while True:
            try:
                query = "" if after is None else f"?after={after}"
                async with await self.patiently("GET", f"/events{query}", None, HELD) as response:
                    async for line in response.content:
                        if line.strip():
                            event = wire.read(ComputeEvent, line)
                            yield event
                            after = event.id
            except (AgentAway, *BROKEN):
                # Whoever listens has the time.
                await asyncio.sleep(PAUSE_SECONDS)

    async def admin(self, endpoint: str, database: str = "postgres") -> Connection:
        address = await self.located("GET", endpoint, "address")
        return await derive.connect(address.sockets, database)

    async def located(self, method: str, endpoint: str, what: str, body: object = None) -> Address:
        """Where it is for us, who may be on another machine."""
        answer = await self.ask(method, f"/endpoints/{endpoint}/{what}", body, LONG_SECONDS)
        address = wire.read(Address, answer)
        if self.tunnels is None:
            return address
        return replace(address, sockets=await self.tunnels.sockets(endpoint))

    async def ask(self, method: str, path: str, body: object = None, seconds: float = QUICK_SECONDS) -> bytes:
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=5)
        data = None if body is None else wire.written(body)
        for _ in range(2):
            try:
                async with await self.patiently(method, path, data, timeout) as response:
                    return await response.read()
            except BROKEN:
                # It ended between the head and the body of its answer.
                continue
        raise AgentAway("the agent of the databases does not answer")

    async def patiently(
        self, method: str, path: str, data: bytes | None, patience: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """The head of its answer, asked again while there is no agent. Raises what it refuses with."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + AWAY_SECONDS_MAX
        while True:
            try:
                response = await self.http.request(method, self.base + path, data=data, timeout=patience)
                if response.status < 400:
                    return response
                async with response:
                    raise wire.refusal_of(response.status, await response.read())
            except TimeoutError:
                raise AgentAway("the agent of the databases does not answer in time") from None
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
                if loop.time() > deadline:
                    raise AgentAway("no agent of the databases answers") from None
            await asyncio.sleep(PAUSE_SECONDS)

    async def state(self) -> str:
        """For a probe, which waits for nobody."""
        try:
            async with self.http.get(f"{self.base}/healthz", timeout=PROBE) as response:
                return "ok" if response.ok else f"degraded: the agent answers {response.status}"
        except BROKEN as error:
            return f"degraded: {type(error).__name__}, databases are not started"
