"""Run an operation for a request: admit, parse, call, answer."""

import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from aiohttp import web

from control.api import access, audit, credentials, idempotency
from control.api.answers import Blob, Created, Csv, Found, Headed, Html, Text, Written
from control.api.audit import Entry
from control.api.idempotency import Claim, Taken
from control.api.inputs import SURROGATE, is_raw, parse, parse_body, rest_of
from control.api.operation import Call, Operation, Room
from control.api.ports import Ports, Visitor
from gateway.answers.again import REPLAYED
from gateway.buckets import Allowance, Bucket, TooManyCalls
from gateway.kit.addresses import address_of, text_of, unit
from gateway.kit.problem import FieldProblem, Invalid, Refusal
from gateway.kit.proxies import client_of, unmapped
from gateway.kit.sql import Pool

POOL: web.AppKey[Pool] = web.AppKey("pool")
PORTS: web.AppKey[Ports] = web.AppKey("ports", Ports)
ALLOWANCE = web.RequestKey("allowance", Allowance)

# A page has nothing but its own style: whatever a name in it might turn out to be, it runs and loads nothing.
PAGE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Vary": "Accept",
}


def mount(app: web.Application, rooms: Sequence[Room]) -> None:
    operations = [operation for room in rooms for operation in room.operations]
    beside: dict[str, set[str]] = defaultdict(set)
    for operation in operations:
        start, _, last = operation.path.rpartition("/")
        beside[start].add(last)
    for operation in operations:
        run, path = endpoint(operation), route(operation.path, beside)
        app.router.add_route(operation.method, path, run, name=name_of(operation))
        # Programs that look at mail ask for the head of every link, which must not open it.
        if operation.method == "GET" and not operation.is_change:
            app.router.add_route("HEAD", path, run)


def route(path: str, beside: Mapping[str, Collection[str]]) -> str:
    """The path, whose last parameter is none of the names that others have in its place, ``beside`` it.

    Otherwise `GET /sessions/revoke-all` would be a session with a wrong id, instead of 405.
    """
    start, _, last = path.rpartition("/")
    if not last.startswith("{"):
        return anything(path)
    names = "|".join(sorted(re.escape(one) for one in beside[start] if not one.startswith("{")))
    return f"{anything(start)}/{{{last[1:-1]}:(?!(?:{names})$)[^/]+}}" if names else anything(path)


def anything(path: str) -> str:
    """Its parameters are whatever has no slash: the name of somebody's table may have braces in it."""
    return re.sub(r"{(\w+)}", r"{\1:[^/]+}", path)


def name_of(operation: Operation) -> str:
    return operation.id.replace(".", ":")


def endpoint(operation: Operation) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def run(request: web.Request) -> web.Response:
        pool, ports = request.app[POOL], request.app[PORTS]
        address = address_in(request, ports)
        if ports.buckets is not None:
            # Before the database is asked, so that whoever guesses keys asks it no more often than others.
            request[ALLOWANCE] = allowance = await ports.buckets.take(*rates(operation, ports, address))
            if allowance.wait_seconds:
                raise TooManyCalls(allowance)
        entry = audit.begin(
            request, operation.id, operation.room, operation.access, operation.path, address,
            is_change=operation.is_change,
        )  # fmt: skip
        try:
            return await admitted(operation, request, pool, ports, entry)
        except Refusal as refusal:
            if is_told(operation, refusal):
                await entry.write(pool, "denied" if refusal.status == 403 else "failure", str(refusal))
            raise

    return run


async def admitted(
    operation: Operation, request: web.Request, pool: Pool, ports: Ports, entry: Entry
) -> web.Response:
    # Before parsing, so that a stranger learns nothing from how a request is malformed.
    actor = await admit(operation, request, pool, ports, entry)
    if operation.access is not None and actor.kind == "key":
        ports.uses.note(actor.key_id)
    positional, keywords = await read(operation, request, actor)
    entry.sent(keywords.get("body"))
    claim = await claimed(operation, request, actor, ports) if operation.is_idempotent else None
    told = entry if operation.is_change else None
    call = Call(pool, actor, ports, claim, visitor_of(request, entry.address), told)
    work = partial(carry_out, operation, pool, call, positional, keywords)
    return await work() if claim is None else await once(claim, pool, work)


def is_told(operation: Operation, refusal: Refusal) -> bool:
    """Whether the audit log hears of a refusal: of a lacking permission, and of an unknown outcome."""
    is_unsure = operation.is_change and not operation.is_transaction and refusal.status >= 500
    return refusal.status == 403 or is_unsure


async def carry_out(
    operation: Operation, pool: Pool, call: Call, positional: Sequence[Any], keywords: Mapping[str, Any]
) -> web.Response:
    if not operation.is_transaction:
        response = await respond(operation, call, positional, keywords)
        if call.claim is not None:
            await call.claim.store(pool, response.status, bytes_of(response))
        return response
    async with pool.acquire() as connection, connection.transaction():
        if call.claim is not None:
            await call.claim.take(connection)
        response = await respond(operation, replace(call, db=connection), positional, keywords)
        if call.claim is not None:
            await call.claim.store(connection, response.status, bytes_of(response))
    return response


async def respond(
    operation: Operation, call: Call, positional: Sequence[Any], keywords: Mapping[str, Any]
) -> web.Response:
    result = await operation.handler(call, *positional, **keywords)
    if call.entry is not None:
        call.entry.made(result)
        await call.entry.write(call.db, "success")
    return answer(operation, result)


async def once(claim: Claim, pool: Pool, work: Callable[[], Awaitable[web.Response]]) -> web.Response:
    """Carry the work out unless that was done before: then give the same answer."""
    first = await claim.answer(pool)
    if first is None:
        try:
            return await work()
        except Taken:
            first = await claim.answer(pool)
    if first is None:
        raise idempotency.RequestInProgress("the key was given back just now; try again")
    status, body = first
    headers = {REPLAYED: "true"}
    if not body:
        return web.Response(status=status, headers=headers)
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


async def claimed(
    operation: Operation, request: web.Request, actor: access.Actor, ports: Ports
) -> Claim | None:
    name = idempotency.read(request.headers.getall(idempotency.HEADER, []))
    if name is None:
        return None
    digest = idempotency.digest_of(actor, operation.method, request.raw_path, await request.read())
    return Claim(actor, name, digest, ports.keyring)


def bytes_of(response: web.Response) -> bytes:
    assert response.body is None or isinstance(response.body, bytes), "what is kept is JSON, or nothing"
    return response.body or b""


def address_in(request: web.Request, ports: Ports) -> str:
    peer = address_of(request.remote or "::")
    return text_of(unmapped(client_of(peer, request.headers, ports.settings.listen.trusted_proxies)))


def rates(operation: Operation, ports: Ports, address: str) -> tuple[Bucket, ...]:
    """Apart from those of paid calls: who has used those up still gets at its wallet and its keys."""
    limits, owner = ports.settings.limits, unit(address)
    management = Bucket("management", owner, limits.address_calls_per_second, limits.address_burst)
    if not operation.is_signup:
        return (management,)
    return (management, Bucket("signup", owner, limits.signups_per_minute / 60, limits.signup_burst))


async def admit(
    operation: Operation, request: web.Request, pool: Pool, ports: Ports, entry: Entry
) -> access.Actor:
    if operation.access is None:
        return access.ANYONE
    credential = await credentials.present(pool, ports.asking(request.method, request.headers))
    actor = await access.place(pool, credential, operation.access, request.match_info)
    entry.admitted(actor)
    access.require(actor, operation.access)
    return actor


def visitor_of(request: web.Request, address: str) -> Visitor:
    agent = request.headers.get("User-Agent")
    # Shown to its owner later: what cannot be stored or printed says nothing to them.
    agent = "".join(filter(str.isprintable, SURROGATE.sub("", agent))) if agent else None
    return Visitor(address, agent or None, request.headers.get("Origin"))


async def read(
    operation: Operation, request: web.Request, actor: access.Actor
) -> tuple[list[Any], dict[str, Any]]:
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    problems: list[FieldProblem] = []
    # Admitted, so the organization in the path is the actor's, "default" included.
    path = dict(request.match_info)
    if operation.access is not None and "organization_id" in path:
        path["organization_id"] = str(actor.organization_id)
    sources: dict[str, Mapping[str, str]] = {"path": path, "query": request.query, "header": request.headers}
    sources["rest"] = {}
    keywords |= rest_of(operation.inputs, request.query, problems)
    for item in operation.inputs:
        source = sources[item.place]
        if item.name not in source and not item.is_required:
            continue
        value = parse(item, source.get(item.name), problems)
        if item.place == "path":
            positional.append(value)
        else:
            keywords[item.parameter] = value
    if is_raw(operation.handler):
        keywords["body"] = await request.read()
    elif operation.body is not None:
        keywords["body"] = parse_body(operation.body, request.headers, await request.read(), problems)
    if problems:
        raise Invalid(problems)
    return positional, keywords


def answer(operation: Operation, result: Any) -> web.Response:
    if isinstance(result, Found):
        return web.Response(status=302, headers={"Location": result.location, **result.headers})
    if isinstance(result, Blob):
        return web.Response(body=result.content, headers=result.headers, content_type=result.content_type)
    if isinstance(result, Html):
        return web.Response(text=result.text, headers=PAGE, content_type="text/html")
    if isinstance(result, Csv):
        saved = {"Content-Disposition": f'attachment; filename="{result.filename}"'}
        return web.Response(body=result.content, headers=saved, content_type="text/csv", charset="utf-8")
    if isinstance(result, Text):
        return web.Response(text=result.content, content_type="text/plain", charset="utf-8")
    if operation.returns is None:
        return web.Response(status=operation.status)
    value = result.value if isinstance(result, Created | Headed) else result
    headers = dict(result.headers) if isinstance(result, Headed) else {}
    if operation.is_printable:
        headers["Vary"] = "Accept"
    body = value.content if isinstance(value, Written) else operation.returns.dump_json(value)
    return web.Response(body=body, status=operation.status, headers=headers, content_type="application/json")
