"""A paid call on one screen: the stages, in their order.

Types keep the order: each stage takes what the one before returns, and only ``pay`` makes the hold that
``settle`` closes. A stage that refuses raises a ``Refusal``; the server turns it into the answer.
"""

from dataclasses import dataclass

from aiohttp import web

from config.settings import Limits
from gateway.admit import admit
from gateway.forward import Upstreams, forward
from gateway.identify import identify
from gateway.limit import Buckets, limit
from gateway.match import match
from gateway.metering.report import Reporter
from gateway.metering.watch import Watch
from gateway.pay import Till, pay
from gateway.price import price
from gateway.relay import relay
from gateway.settle import settle
from gateway.snapshot import Snapshot
from gateway.types import Inbound


@dataclass(frozen=True, slots=True)
class Gate:
    """All that a call needs, made once by the composition root."""

    origin: str
    limits: Limits
    snapshot: Snapshot
    buckets: Buckets
    till: Till
    upstreams: Upstreams
    reporter: Reporter


async def call(gate: Gate, request: web.BaseRequest, watch: Watch) -> web.StreamResponse:
    """``watch`` is told how far the call comes; nothing here depends on it."""
    watch.enter("admit")
    inbound = admit(request, watch.call_id, gate.origin, gate.limits.body_bytes_max)
    try:
        return await serve(gate, inbound, request, watch)
    finally:
        inbound.body.close()


async def serve(gate: Gate, inbound: Inbound, request: web.BaseRequest, watch: Watch) -> web.StreamResponse:
    watch.enter("match")
    watch.match = matched = match(gate.snapshot, inbound)
    watch.enter("identify")
    watch.caller = caller = await identify(gate.snapshot, inbound, matched)
    watch.enter("limit")
    await limit(gate.buckets, gate.limits, inbound, caller)
    watch.enter("price")
    quote = price(matched, inbound)
    watch.enter("pay")
    async with pay(gate.till, inbound, caller, matched, quote) as hold:
        watch.hold = hold
        watch.enter("forward")
        async with forward(gate.upstreams, inbound, matched, watch.trace) as answer:
            watch.head = answer.head
            watch.enter("settle")
            watch.receipt = receipt = await settle(hold, answer)
            watch.enter("relay")
            return await relay(request, inbound, answer, receipt, watch)
