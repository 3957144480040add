"""The management API as one application. Nothing leaves it that is not documented or a problem."""

import base64
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog
from aiohttp import web

from control.api import audit, openapi, serve
from control.api.operation import Room
from control.api.ports import Ports
from control.api.v1 import spelled
from control.rooms import ROOMS
from gateway.kit import ids
from gateway.kit.problem import Refusal, Unavailable, problem, respond
from gateway.kit.sql import OUTAGES, Pool

log = structlog.get_logger(__name__)

DOCUMENT = Path(__file__).with_name("openapi.json")
DOCS = Path(__file__).with_name("api") / "docs.html"
LINK = DOCS.with_name("link.html")


def create(pool: Pool, ports: Ports, rooms: Sequence[Room] = ROOMS) -> web.Application:
    app = web.Application(middlewares=[problems])
    app[serve.POOL] = pool
    app[serve.PORTS] = ports
    serve.mount(app, rooms)
    # Half a second of computing, which what is checked in spares a start.
    document = DOCUMENT.read_bytes() if rooms is ROOMS else json.dumps(openapi.document(rooms)).encode()

    async def show_document(request: web.Request) -> web.Response:
        return web.Response(body=document, content_type="application/json", charset="utf-8")

    app.router.add_get("/", show_the_way)
    app.router.add_get("/openapi.json", show_document)
    app.router.add_get("/docs", page(DOCS))
    app.router.add_get("/auth/link", page(LINK))
    return app


def page(path: Path) -> Callable[[web.Request], Awaitable[web.Response]]:
    text = path.read_text()
    headers = {"Content-Security-Policy": content_security_policy(text), "Referrer-Policy": "no-referrer"}

    async def show(request: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/html", headers=headers)

    return show


def content_security_policy(page: str) -> str:
    """Let the page run its own script and ask this server, and nothing else."""
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; connect-src 'self'; "
        # The icon that there is none.
        "img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@web.middleware
async def problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        response = await handler(request)
    except Refusal as refusal:
        response = respond(spelled(refusal.problem(), request.path), refusal.headers)
    except web.HTTPException as error:
        # aiohttp's own refusals: no such path, a method not allowed there, a body too large.
        slug = error.reason.lower().replace(" ", "-")
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        said = problem(error.status, slug, error.reason, f"{request.method} {request.path}")
        response = respond(spelled(said, request.path), allow)
    except OUTAGES as error:
        # A caller that hangs up in its body raises the same, and says nothing about the database.
        if request.transport is not None:
            log.warning("database_unavailable", path=request.path, error=repr(error))
        unavailable = Unavailable("the database cannot be reached right now; nothing was changed")
        response = respond(unavailable.problem(), unavailable.headers)
    except Exception:  # The top of the management API: whatever comes here is a bug, and is logged as one.
        call_id = ids.new()
        log.exception("call_failed", call_id=str(call_id), method=request.method, path=request.path)
        said = problem(500, "internal-error", "Internal error", f"Report it as {call_id}.")
        response = respond(spelled(said, request.path), {})
    # Answers carry keys and balances, and a browser must not take JSON for anything else.
    response.headers.setdefault("Cache-Control", "no-store")
    # As paid calls say it; the versions of what we are made of are nobody's business.
    response.headers["Server"] = "farebox"
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers[audit.REQUEST_ID] = audit.request_id(request)
    return response


async def show_the_way(request: web.Request) -> web.Response:
    """Whoever opens the printed address meets the documentation."""
    return web.Response(status=302, headers={"Location": "/docs"})
