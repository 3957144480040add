"""The small API that the demonstration sells: a weather report, and a page that always fails."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

CREDENTIAL = "the publisher's own secret"


@dataclass(slots=True)
class Upstream:
    url: str = ""
    hits: list[str] = field(default_factory=list)

    async def report(self, request: web.Request) -> web.Response:
        self.hits.append(request.path)
        if request.headers.get("X-Upstream-Key") != CREDENTIAL:
            return web.json_response({"error": "only the gateway may ask"}, status=401)
        return web.json_response({"city": request.match_info["city"], "sky": "clear", "degrees": 21})

    async def fail(self, request: web.Request) -> web.Response:
        self.hits.append(request.path)
        return web.json_response({"error": "out of order"}, status=500)


@asynccontextmanager
async def selling() -> AsyncIterator[Upstream]:
    """Serve on a free loopback port."""
    upstream = Upstream()
    app = web.Application()
    app.router.add_get("/weather/{city}", upstream.report)
    app.router.add_get("/broken", upstream.fail)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        upstream.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield upstream
    finally:
        await runner.cleanup()
