"""The provider of this machine, for other processes: HTTP on a socket, or with a key on an address.

Each call of the interface is a request. A session is one that is held open: the kernel ends it for whoever
dies.
"""

import asyncio
import hmac
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from pydantic import ValidationError

from control.computes import tunnel, wire
from control.computes.local import LocalProvider
from control.computes.provider import At
from gateway.kit import problem, tasks
from gateway.kit.problem import FieldProblem, Invalid, Refusal, Unauthorized

BODY_BYTES_MAX = 1 << 16
NAME = "[A-Za-z0-9-]{1,64}"

Find = Callable[[], Awaitable[LocalProvider]]


class Agent:
    """``find`` is awaited by each request, as the provider may still be opened."""

    def __init__(self, find: Find, key: str | None = None) -> None:
        self.find, self.key = find, key
        self.holding: set[asyncio.Task[Any]] = set()

    def application(self) -> web.Application:
        application = web.Application(middlewares=[refusing, self.authorized], client_max_size=BODY_BYTES_MAX)
        timeline, endpoint = f"/timelines/{{timeline:{NAME}}}", f"/endpoints/{{endpoint:{NAME}}}"
        application.add_routes([
            web.get("/healthz", well),
            web.get("/capabilities", self.capabilities),
            web.put(timeline, self.create_timeline),
            web.get(timeline, self.stat),
            web.delete(timeline, self.delete_timeline),
            web.post(f"{timeline}/archive", self.archive),
            web.post(f"{timeline}/unarchive", self.unarchive),
            web.post(f"{timeline}/retention", self.set_retention),
            web.post(f"{timeline}/resolve", self.resolve),
            web.post(f"{timeline}/reach", self.reach),
            web.get(f"{timeline}/slots", self.slots),
            web.put(f"/projects/{{project:{NAME}}}/disk-limit", self.limit_disk),
            web.get(endpoint, self.status),
            web.get(f"{endpoint}/address", self.address),
            web.get(f"{endpoint}/session", self.session),
            web.get(f"{endpoint}/connect", self.connect),
            web.post(f"{endpoint}/start", self.start),
            web.post(f"{endpoint}/stop", self.stop),
            web.post(f"{endpoint}/restart", self.restart),
            web.post("/traffic", self.traffic),
            web.get("/events", self.events),
        ])  # fmt: skip
        application.on_shutdown.append(self.leave)
        return application

    async def leave(self, _: web.Application) -> None:
        for task in self.holding:
            task.cancel()

    @web.middleware
    async def authorized(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get(hdrs.AUTHORIZATION, "")
        if self.key is not None and not hmac.compare_digest(given.encode(), f"Bearer {self.key}".encode()):
            raise Unauthorized("the key of the agent is missing or wrong: FAREBOX_COMPUTES__KEY")
        return await handler(request)

    async def capabilities(self, request: web.Request) -> web.Response:
        return told(await (await self.find()).capabilities())

    async def create_timeline(self, request: web.Request) -> web.Response:
        asked = wire.read(wire.Creation, await request.read())
        source = None if asked.source is None else (asked.source, asked.at)
        provider = await self.find()
        return told(await provider.create_timeline(request.match_info["timeline"], asked.spec, source))

    async def stat(self, request: web.Request) -> web.Response:
        return told(await (await self.find()).stat(request.match_info["timeline"]))

    async def delete_timeline(self, request: web.Request) -> web.Response:
        await (await self.find()).delete_timeline(request.match_info["timeline"])
        return web.Response(status=204)

    async def archive(self, request: web.Request) -> web.Response:
        await (await self.find()).archive(request.match_info["timeline"])
        return web.Response(status=204)

    async def unarchive(self, request: web.Request) -> web.Response:
        await (await self.find()).unarchive(request.match_info["timeline"])
        return web.Response(status=204)

    async def set_retention(self, request: web.Request) -> web.Response:
        asked = wire.read(wire.Retention, await request.read())
        await (await self.find()).set_retention(request.match_info["timeline"], asked.seconds)
        return web.Response(status=204)

    async def resolve(self, request: web.Request) -> web.Response:
        at = wire.read(At, await request.read())
        return told(await (await self.find()).resolve(request.match_info["timeline"], at))

    async def reach(self, request: web.Request) -> web.Response:
        at = wire.read(At, await request.read())
        return told(await (await self.find()).reach(request.match_info["timeline"], at))

    async def slots(self, request: web.Request) -> web.Response:
        return told(wire.Slots(await (await self.find()).slots(request.match_info["timeline"])))

    async def limit_disk(self, request: web.Request) -> web.Response:
        asked = wire.read(wire.DiskLimit, await request.read())
        await (await self.find()).limit_disk(request.match_info["project"], asked.size)
        return web.Response(status=204)

    async def status(self, request: web.Request) -> web.Response:
        return told(await (await self.find()).status(request.match_info["endpoint"]))

    async def address(self, request: web.Request) -> web.Response:
        return told((await self.find()).address(request.match_info["endpoint"]))

    async def start(self, request: web.Request) -> web.Response:
        asked = wire.read(wire.Start, await request.read())
        provider = await self.find()
        return told(await provider.start(request.match_info["endpoint"], asked.timeline, asked.spec))

    async def stop(self, request: web.Request) -> web.Response:
        asked = wire.read(wire.Stop, await request.read())
        await (await self.find()).stop(request.match_info["endpoint"], asked.mode)
        return web.Response(status=204)

    async def restart(self, request: web.Request) -> web.Response:
        asked = wire.read(wire.Restart, await request.read())
        return told(await (await self.find()).restart(request.match_info["endpoint"], asked.spec))

    async def session(self, request: web.Request) -> web.StreamResponse:
        provider = await self.find()
        async with provider.session(request.match_info["endpoint"]), self.held(request):
            await asyncio.Event().wait()
            raise AssertionError("it is cancelled")

    async def connect(self, request: web.Request) -> web.StreamResponse:
        address = (await self.find()).address(request.match_info["endpoint"])
        return await tunnel.answer(request, address.sockets)

    async def traffic(self, request: web.Request) -> web.Response:
        provider = await self.find()
        for endpoint, moved in wire.read(wire.Traffic, await request.read()).moved.items():
            provider.traffic(endpoint, *moved)
        return web.Response(status=204)

    async def events(self, request: web.Request) -> web.StreamResponse:
        provider = await self.find()
        async with self.held(request) as response:
            async for event in provider.events(request.query.get("after")):
                await response.write(wire.written(event) + b"\n")
        return response

    @asynccontextmanager
    async def held(self, request: web.Request) -> AsyncIterator[web.StreamResponse]:
        """An answer that ends when either side does. Its head is sent at once: what was asked counts."""
        response = web.StreamResponse()
        response.content_type = "application/x-ndjson"
        await response.prepare(request)
        await response.write(b"\n")
        notice_death(request)
        task, crew = asyncio.current_task(), tasks.Crew()
        assert task is not None
        self.holding.add(task)
        crew.start(beat(response))
        try:
            yield response
        finally:
            self.holding.discard(task)
            await crew.close()


async def well(request: web.Request) -> web.Response:
    """Opens nothing."""
    return web.json_response({"status": "ok"})


def notice_death(request: web.Request) -> None:
    """Of another machine, which closes nothing: what it does not acknowledge so long ends the connection."""
    connection = None if request.transport is None else request.transport.get_extra_info("socket")
    if connection is not None and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(3000 * wire.BEAT_SECONDS))


async def beat(response: web.StreamResponse) -> None:
    with suppress(OSError):
        while True:
            await asyncio.sleep(wire.BEAT_SECONDS)
            await response.write(b"\n")


@web.middleware
async def refusing(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refusal as refusal:
        body = wire.problem_of(refusal)
        return web.json_response(
            body, status=refusal.status, headers=refusal.headers, content_type="application/problem+json"
        )
    except ValidationError as error:
        fields = [
            FieldProblem(pointer="/".join(("body", *map(str, one["loc"]))), detail=one["msg"])
            for one in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        return problem.respond(Invalid(fields).problem(), {})


def told(value: object) -> web.Response:
    return web.Response(body=wire.written(value), content_type="application/json")
