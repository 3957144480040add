"""Stage 8 of 9, after pay, before settle: send the call upstream, with the publisher's credentials for its
own.

The URL is the one that was matched and priced. What the caller may not see of the upstream, and the upstream
not of the caller, was dropped on the way; see ``kit/hygiene.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote, unquote_plus

from multidict import CIMultiDict

from gateway import passthrough
from gateway.exchange import Exchanger
from gateway.kit import hygiene, trace
from gateway.kit.addresses import text_of
from gateway.kit.trace import Trace
from gateway.plan import Plan
from gateway.types import Caller, Fetch, Inbound, Match, Outbound, Route, Vouched
from gateway.upstreams.exchange import Exchange
from gateway.upstreams.http import HttpUpstreams
from gateway.upstreams.postgres import Asking, Queries
from gateway.upstreams.request import Fields, Request
from gateway.upstreams.websocket import SocketUpstreams

NOBODY = Vouched()


@dataclass(frozen=True, slots=True)
class Upstreams:
    http: HttpUpstreams
    sockets: SocketUpstreams
    queries: Queries
    fetch: Fetch
    """For auth modes that ask a token endpoint."""
    exchanger: Exchanger
    origin: str


async def forward(
    upstreams: Upstreams, plan: Plan, inbound: Inbound, caller: Caller, own_trace: Trace | None
) -> Exchange | Asking:
    """To be entered for the upstream's answer, whose head is there; a ``Refusal`` when there is none."""
    match, route = plan.match, plan.match.route
    if route.database is not None:
        assert inbound.question is not None, "read before it was priced"
        return await upstreams.queries.ask(route.publisher_id, route.database, inbound.question).ask()
    is_nobodys = route.auth is None and route.exchange is None and caller.token is None
    vouched = NOBODY if is_nobodys else await vouch(upstreams, inbound, match, caller)
    request = plan.request
    is_other = vouched is not plan.vouched and vouched != plan.vouched
    says_more = inbound.headers is not plan.inbound.headers
    if request is None or is_other or says_more or own_trace is not None:
        request = prepare(upstreams, plan, inbound, vouched, own_trace)
    # Another call of the plan may have come from elsewhere in the meantime.
    is_last = plan.address is inbound.client_address
    address = plan.forwarded if is_last else text_of(inbound.client_address)
    own = f"X-Forwarded-For: {address}\r\n{hygiene.CALL_ID}: {inbound.call_id}\r\n"
    passed = hygiene.of_response if route.passthrough is None else passthrough.of_response
    exchange = await upstreams.http.begin(request, own.encode(), inbound.body, passed).ask()
    if (
        route.exchange is not None
        and exchange.answer.head.status == 401
        and caller.organization_id is not None
    ):
        upstreams.exchanger.forget(route.publisher_id, route.exchange, caller.organization_id)
    return exchange


def prepare(
    upstreams: Upstreams, plan: Plan, inbound: Inbound, vouched: Vouched, own_trace: Trace | None
) -> Request:
    """A request to the upstream, but for whose it is; the next one of the plan is the same unless other
    credentials go with it, or it is traced.
    """
    match, http = plan.match, upstreams.http
    url = with_query(match.url, vouched.query)
    if vouched is NOBODY and own_trace is None:
        written = fields_of(upstreams, inbound, match)
    else:
        headers = constant_of(upstreams, inbound, match, vouched)
        carry(headers, own_trace)
        written = http.fields(headers)
    request = http.prepare(inbound.method, url, written, inbound.body)
    if own_trace is None and inbound.headers is plan.inbound.headers:
        plan.request, plan.vouched = request, vouched
    return request


def fields_of(upstreams: Upstreams, inbound: Inbound, match: Match) -> Fields:
    """What is the same for each call with these headers is remembered beside them."""
    heading = inbound.heading
    if heading is not None and heading.base is not None and inbound.headers is heading.base.meaning.headers:
        heading = heading.base
    known: tuple[Route, Fields] | None = None if heading is None else heading.sent
    if known is None or known[0] is not match.route:
        headers = constant_of(upstreams, inbound, match, NOBODY)
        carry(headers, None)
        known = match.route, upstreams.http.fields(headers)
        if heading is not None:
            heading.sent = known
    return known[1]


async def vouch(upstreams: Upstreams, inbound: Inbound, match: Match, caller: Caller) -> Vouched:
    auth, exchange = match.route.auth, match.route.exchange
    if caller.token is not None:
        return Vouched({"Authorization": f"Bearer {caller.token}"})
    if exchange is not None:
        assert caller.organization_id is not None, "identify lets nobody else pass"
        publisher_id = match.route.publisher_id
        return Vouched(await upstreams.exchanger.headers(publisher_id, exchange, caller.organization_id))
    if auth is None:
        return NOBODY
    outbound = Outbound(inbound.method, match.url, inbound.headers, upstreams.fetch)
    return await auth.authorize(auth.settings, outbound)


def headers_of(upstreams: Upstreams, inbound: Inbound, match: Match, vouched: Vouched) -> CIMultiDict[str]:
    headers = constant_of(upstreams, inbound, match, vouched)
    headers["X-Forwarded-For"] = text_of(inbound.client_address)
    headers[hygiene.CALL_ID] = str(inbound.call_id)
    return headers


def constant_of(upstreams: Upstreams, inbound: Inbound, match: Match, vouched: Vouched) -> CIMultiDict[str]:
    """What is the same for every call that brings the same headers."""
    headers = CIMultiDict(inbound.headers)
    if vouched.is_selective:
        headers = CIMultiDict((name, value) for name, value in headers.items() if hygiene.describes(name))
    for name, value in match.route.upstream_headers.items():
        if name.lower() != "content-type" or inbound.body.length != 0:
            headers[name] = value
    # Last, so that nothing a caller sends can stand in for the publisher's credentials.
    for name, value in vouched.headers.items():
        headers[name] = value
    if inbound.upstream_payment is not None:
        headers[inbound.upstream_payment.header] = inbound.upstream_payment.value
    if match.route.is_answer_read:
        headers.popall("Range", None)
        headers["Accept-Encoding"] = "identity"
    scheme, host = parts(upstreams.origin)
    headers["X-Forwarded-Proto"] = scheme
    headers["X-Forwarded-Host"] = host
    # In each call another.
    headers.popall("X-Forwarded-For", None)
    headers.popall(hygiene.CALL_ID, None)
    return headers


@lru_cache(maxsize=8)
def parts(origin: str) -> tuple[str, str]:
    scheme, _, host = origin.partition("://")
    return scheme, host


def carry(headers: CIMultiDict[str], own_trace: Trace | None) -> None:
    """The upstream's work belongs to our span; a trace that was not understood goes no further."""
    if own_trace is not None:
        headers[trace.PARENT] = own_trace.header
    else:
        headers.popall(trace.PARENT, None)
    if own_trace is None or own_trace.parent_id is None:
        headers.popall(trace.STATE, None)


def with_query(url: str, added: Mapping[str, str]) -> str:
    """Add parameters in the caller's stead: one of the same name that the caller sent is dropped.

    The others stay byte for byte what they were when they were priced.
    """
    if not added:
        return url
    base, _, query = url.partition("?")
    kept = [one for one in query.split("&") if one and unquote_plus(one.partition("=")[0]) not in added]
    own = [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in added.items()]
    return f"{base}?{'&'.join([*kept, *own])}"
