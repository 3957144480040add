"""One port for everything: paid calls go straight to ``call``, every other path to the management
application.

A low-level aiohttp server, so that no router, middleware or access log stands in front of a paid call.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache, partial
from typing import TypeAlias

import structlog
from aiohttp import web
from multidict import CIMultiDict

from config.logging import CALL_ID
from config.settings import Listen
from gateway.call import Gate, call
from gateway.front.arrived import Arrived, over
from gateway.front.problems import ExpectationFailed
from gateway.front.reply import Reply, ended, refuse, refuse_with, refusing
from gateway.front.server import Front
from gateway.kit import hygiene, ids
from gateway.kit.problem import NotFound, Refusal, Unavailable, problem, respond
from gateway.kit.sql import OUTAGES
from gateway.limit import give_back
from gateway.metering.watch import Watch
from gateway.plan import Plan, Told
from gateway.unpaid import tell_again

PREFIX = "/publishers/"
# The gateway's own pages under a publisher, answered by the management application.
OWN_PAGES = {("POST", "estimate"), ("GET", "logo"), ("HEAD", "logo")}
JWKS = "/.well-known/jwks.json"
OWN_PATHS = {"/healthz", "/readyz", JWKS}

Check: TypeAlias = Callable[[], Awaitable[Mapping[str, str]]]
"""What each dependency says: "ok", or what is wrong with it."""

log = structlog.get_logger(__name__)


def create(gate: Gate | None, management: web.Server | None, check: Check, listen: Listen) -> Front:
    """Return a server to give to ``loop.create_server``; either part may be absent in this process."""

    def dispatch(request: web.BaseRequest) -> Awaitable[web.StreamResponse | Reply]:
        if gate is not None and is_call(request.method, request.rel_url.raw_path):
            return guarded(gate, over(request))
        return other(request)

    async def other(request: web.BaseRequest) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if path in OWN_PATHS and (gate is not None or path != JWKS):
            return await own_page(gate, check, request)
        if management is not None:
            if is_unmet(request.headers.get("Expect")):
                return respond(ExpectationFailed("nothing is expected here but 100-continue").problem(), {})
            return await management.request_handler(request)
        return respond(NotFound(f"nothing is served at {path}").problem(), {})

    calls = None if gate is None else (is_call, partial(guarded, gate))
    at_once = None if gate is None else partial(tell_again, gate)
    return Front(dispatch, listen, None if management is None else management.request_factory, calls, at_once)


def is_unmet(expected: str | None) -> bool:
    """RFC 9110 section 10.1.1. aiohttp would repeat in its answer what UTF-8 may not be able to say."""
    return expected is not None and expected.lower() != "100-continue"


@lru_cache(maxsize=1024)
def is_call(method: str, path: str) -> bool:
    """Whether this is a publisher's: the bare slug shows its page in the store to GET, everything else is a
    call.
    """
    if not path.startswith(PREFIX):
        return False
    slug, slash, rest = path.removeprefix(PREFIX).partition("/")
    if slug in ("", "suggest"):
        return False
    return (method, rest) not in OWN_PAGES if slash else method not in ("GET", "HEAD")


async def own_page(gate: Gate | None, check: Check, request: web.BaseRequest) -> web.Response:
    path = request.rel_url.raw_path
    if request.method not in ("GET", "HEAD"):
        said = problem(405, "method-not-allowed", "Method Not Allowed", f"{request.method} {path}")
        return respond(said, {"Allow": "GET,HEAD"})
    if gate is not None and path == JWKS:
        # What publishers check our word for a caller with.
        return web.json_response(gate.upstreams.exchanger.signer.jwks())
    return web.json_response({"status": "ok"}) if path == "/healthz" else await ready(check)


async def guarded(gate: Gate, request: Arrived) -> web.StreamResponse | Reply:
    """Turn what a call raises into its answer. This is where a bug becomes a bare 500."""
    call_id = ids.new()
    watch = gate.reporter.begin(call_id, request.wording)
    # For whatever is logged meanwhile. Each request has a task of its own, so there is nothing to forget.
    CALL_ID.set(call_id)
    try:
        response = await call(gate, request, watch)
        watch.status = response.status
        return response
    except Refusal as refusal:
        if watch.match is not None and watch.allowance is not None:
            give_back(gate.buckets, watch.match, refusal, is_answered=watch.head is not None)
        # Where it was raised nobody asks, and a traceback holds on to the watch that holds on to it.
        watch.refusal, watch.status = refusal.with_traceback(None), refusal.status
        return told(request, watch, refusal)
    except OUTAGES as error:
        log.warning("call.unavailable", reason=repr(error))
        away = Unavailable("the gateway cannot reach its database right now; try again in a moment")
        watch.refusal, watch.status = away, away.status
        return told(request, watch, away)
    except Exception as error:
        watch.error, watch.status = error, 500
        bug = problem(500, "internal-error", "Internal error", f"Report it as {call_id}.")
        return refuse(request, bug, CIMultiDict({hygiene.CALL_ID: str(call_id)}))
    finally:
        gate.reporter.end(watch)


def told(request: Arrived, watch: Watch, refusal: Refusal) -> Reply:
    shared = refusal.shared
    if not shared:
        lines = refusing(refusal.status, CIMultiDict(refusal.headers))
        body = refusal.written()
        one = Told(refusal, lines, body, ended(body))
        if shared is not None:
            shared["told"] = one
    else:
        one = shared["told"]
    if shared is not None:
        keep_told(request, one)
    limits = "" if watch.allowance is None else watch.allowance.lines
    more = f"{limits}{hygiene.CALL_ID}: {watch.call_id}\r\n"
    return refuse_with(request, refusal.status, one.lines, one.body, more)


def keep_told(request: Arrived, told: Told) -> None:
    """What everybody is told of this head, for ``unpaid``: where its publisher asks nothing of each call."""
    plan: Plan | None = request.wording.plan
    if plan is None or plan.told is not None or request.method == "HEAD":
        return
    route = plan.match.route
    if route.ownership is None and route.oauth_provider_id is None:
        plan.told = told


async def ready(check: Check) -> web.Response:
    found = await check()
    is_ready = not any(state.startswith("down") for state in found.values())
    status = {"status": "ready" if is_ready else "not_ready", "dependencies": dict(found)}
    return web.json_response(status, status=200 if is_ready else 503)
