"""A paid call on one screen: the stages, in their order.

Types keep the order: each stage takes what the one before returns, and only ``pay`` makes the hold that
``settle`` closes; what is open when its call ends is given back. A stage that refuses raises a ``Refusal``;
the server turns it into the answer. A call that was made and charged before leaves the line at ``pay``, with
the answer that it had then.
"""

import sys
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

from aiohttp import web

from config.settings import Limits
from gateway import ownership, question, upstream_offers
from gateway.admit import admit, again, asking, bare
from gateway.answers.again import AnsweredBefore
from gateway.buckets import Buckets
from gateway.connections import Connections
from gateway.forward import Upstreams, forward
from gateway.front.arrived import Arrived, Wording
from gateway.front.reply import Reply
from gateway.identify import identify
from gateway.kit.proxies import Proxies
from gateway.limit import asked_of, limit
from gateway.match import match, refuse_unwritten
from gateway.metering.report import Reporter, known_of
from gateway.metering.watch import Known, Watch
from gateway.pay import Till, give_back, pay
from gateway.plan import Plan
from gateway.price import price
from gateway.protect import protect
from gateway.relay import relay
from gateway.settle import Settled, settle, settle_along
from gateway.snapshot import Snapshot
from gateway.sockets import Asked, connect
from gateway.types import Answer, Caller, Inbound, Receipt, Route
from gateway.upstreams.load import Loads

# What is kept of one caller's paths, or of those of strangers who all say the same.
PLANS_MAX, PLAN_CHARACTERS_MAX = 4, 512


@dataclass(frozen=True, slots=True)
class Gate:
    """All that a call needs, made once by the composition root."""

    origin: str
    limits: Limits
    snapshot: Snapshot
    buckets: Buckets
    loads: Loads
    till: Till
    upstreams: Upstreams
    reporter: Reporter
    connections: Connections
    proxies: Proxies


async def call(gate: Gate, request: Arrived, watch: Watch) -> web.StreamResponse | Reply:
    """``watch`` is told how far the call comes; nothing here depends on it."""
    wording = request.wording.base or request.wording
    plan: Plan | None = wording.plan or with_another_query(wording)
    if plan is not None and plan.holds(gate.snapshot):
        inbound = again(plan.inbound, request, watch.call_id, gate.limits.body_bytes_max, gate.proxies)
        is_priced = request.wording is wording and plan.quote is not None
        watch.recalled(plan.match, plan.caller, plan.known, is_priced=is_priced)
    else:
        inbound, plan = await prepare(gate, request, watch)
    try:
        return await serve(gate, plan, inbound, request, watch)
    except AnsweredBefore as before:
        watch.repeat(before.answer, before.receipt)
        first = replace(inbound, call_id=before.receipt.call_id)
        return await relay(request, first, before.answer, before.receipt, watch)
    finally:
        inbound.body.close()


async def prepare(gate: Gate, request: Arrived, watch: Watch) -> tuple[Inbound, Plan]:
    """What a head leads to, which the next call with the same one finds beside it."""
    edition, wording = gate.snapshot.edition, request.wording.base or request.wording
    inbound = admit(request, watch.call_id, gate.origin, gate.limits.body_bytes_max, gate.proxies)
    watch.admitted()
    matched = watch.matched(match(gate.snapshot, inbound))
    if (neighbour := with_another_path(gate.snapshot, wording, matched.route)) is not None:
        caller = neighbour.caller
    else:
        caller = await identify(gate.snapshot, gate.buckets, gate.limits, inbound, matched)
    watch.identified(caller)
    plan = Plan(edition, bare(inbound), matched, caller, Known(known_of(watch)), neighbour)
    watch.known = plan.known
    keep(plan, wording)
    return inbound, plan


def keep(plan: Plan, wording: Wording) -> None:
    plans, wording.plan = wording.heading.plans, plan
    if len(plan.match.url) <= PLAN_CHARACTERS_MAX:
        if len(plans) >= PLANS_MAX:
            plans.clear()
        plans[wording.method, wording.path] = plan


def with_another_query(wording: Wording) -> Plan | None:
    """Agents ask for ever new things of one endpoint: what this leads to follows from the last one."""
    last: Plan | None = wording.heading.plans.get((wording.method, wording.path))
    if last is None:
        return None
    refuse_unwritten(wording.query)
    plan = wording.plan = last.asking(asking(last.inbound, wording.query))
    return plan


def with_another_path(snapshot: Snapshot, wording: Wording, route: Route) -> Plan | None:
    """The last plan for the same fields, if it holds and leads to the same publisher: it is the same
    caller's.
    """
    last: Plan | None = next(reversed(wording.heading.plans.values()), None)
    return last if last is not None and last.match.route is route and last.holds(snapshot) else None


async def serve(
    gate: Gate, plan: Plan, inbound: Inbound, request: Arrived, watch: Watch
) -> web.StreamResponse | Reply:
    matched, caller, route = plan.match, plan.caller, plan.match.route
    asked = asked_of(gate.limits, plan, inbound.client_address)
    watch.limited(gate.buckets.ahead(asked) or await limit(gate.buckets, asked))
    if route.ownership is not None:
        await ownership.check(gate.snapshot.pool, inbound, matched, caller)
    if route.oauth_provider_id is not None:
        caller = await gate.connections.speak(matched, caller)
    if route.database is not None:
        inbound = await question.read(inbound, matched, gate.upstreams.queries.settings)
    quote = plan.quote or plan.priced(price(matched, inbound))
    watch.priced()
    with protect(gate.loads, inbound, matched) as turn:
        watch.protected()
        if inbound.is_websocket:
            conversation = Asked(request, inbound, caller, matched, quote, watch)
            return await connect(gate.till, gate.upstreams, conversation, turn)
        hold = await pay(gate.till, inbound, caller, matched, quote)
        try:
            watch.held(hold)
            with await forward(gate.upstreams, plan, inbound, caller, watch.trace) as answer:
                turn.answered(answer.head)
                watch.answered(answer.head)
                along = settle_along(hold, answer, watch.charge)
                if along is None:
                    settled = Settled(answer, await settle(hold, answer.head))
                    return await tell(gate, plan, request, inbound, caller, settled, watch)
                async with along as settled:
                    return await tell(gate, plan, request, inbound, caller, settled, watch)
        finally:
            if hold.is_open:
                await give_back(hold, sys.exception())


def tell(
    gate: Gate, plan: Plan, request: Arrived, inbound: Inbound, caller: Caller, settled: Settled, watch: Watch
) -> Awaitable[Reply]:
    """To be awaited until the answer is written, or something else to be raised in its stead."""
    matched, answer, receipt = plan.match, settled.answer, settled.receipt
    watch.settled(receipt)
    if matched.route.passthrough is not None and answer.head.status == 402:
        return upstream_offers.refuse(gate.till.x402, inbound, matched, settled)
    if matched.route.ownership is not None:
        owned = ownership.recorded(gate.snapshot.pool, inbound, matched, caller, answer)
        return tell_owner(request, inbound, owned, receipt, watch)
    return relay(request, inbound, answer, receipt, watch)


async def tell_owner(
    request: Arrived,
    inbound: Inbound,
    owned: AbstractAsyncContextManager[Answer],
    receipt: Receipt | None,
    watch: Watch,
) -> Reply:
    async with owned as answer:
        return await relay(request, inbound, answer, receipt, watch)
