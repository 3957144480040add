"""A call that asks for a WebSocket: paid for when the upstream has accepted it, and then for what it carries.

It takes the stages of any call up to its price. From then on it is a conversation: messages, pings and close
codes pass as they come. When the money runs out, the caller's side is closed with 4402.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

from aiohttp import ClientError, WSMsgType, web
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.fare import Fare
from gateway.forward import Upstreams, carry, headers_of, vouch, with_query
from gateway.front.arrived import Arrived
from gateway.kit import hygiene, ids, tasks
from gateway.kit.problem import Refusal, invalid
from gateway.metering.watch import Watch
from gateway.pay import Till, give_back, pay
from gateway.protect import Turn
from gateway.rails.prepaid import Short
from gateway.types import Caller, Head, Hold, Inbound, Match, Price, Quote, Receipt
from gateway.upstreams.websocket import HEARTBEAT_SECONDS, MESSAGE_BYTES_MAX, Socket

Near: TypeAlias = web.WebSocketResponse[bool]

GOING_AWAY, BAD_GATEWAY, OUT_OF_MONEY = 1001, 1014, 4402
SENDABLE = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
REASON_BYTES_MAX = 123


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a WebSocket, as far as its price."""

    request: Arrived
    inbound: Inbound
    caller: Caller
    match: Match
    quote: Quote
    watch: Watch


class Ended(Exception):
    """Why the conversation is over, and what each side is told."""

    def __init__(self, near: int, far: int, reason: str = "") -> None:
        super().__init__(reason)
        self.near, self.far, self.reason = near, far, reason


async def connect(till: Till, upstreams: Upstreams, asked: Asked, turn: Turn) -> web.StreamResponse:
    inbound, watch, request = asked.inbound, asked.watch, asked.request.made
    if request is None or not can_be_accepted(request):
        raise invalid("header/Upgrade", "is not the WebSocket handshake of RFC 6455")
    async with (
        paying(till, asked) as hold,
        dial(upstreams, asked, hold) as far,
    ):
        head = Head(101, "Switching Protocols", CIMultiDictProxy(CIMultiDict()))
        turn.answered(head)
        watch.answered(head)
        async with paid(till, asked, hold, head) as (fare, receipt):
            near = accepting(inbound, far, receipt)
            await near.prepare(request)
            watch.settled(receipt)
            ended = Ended(GOING_AWAY, GOING_AWAY)
            try:
                ended = await converse(near, far, fare)
            finally:
                await asyncio.gather(
                    far.close(code=ended.far, message=short(ended.reason)),
                    near.close(code=ended.near, message=short(ended.reason)),
                )
            return near


@asynccontextmanager
async def paying(till: Till, asked: Asked) -> AsyncIterator[Hold]:
    hold = await pay(till, asked.inbound, asked.caller, asked.match, asked.quote)
    try:
        yield hold
    finally:
        if hold.is_open:
            await give_back(hold, sys.exception())


def can_be_accepted(request: web.BaseRequest) -> bool:
    try:
        return bool(web.WebSocketResponse().can_prepare(request))
    except ValueError:
        # aiohttp decodes a key that is not even ASCII.
        return False


@asynccontextmanager
async def dial(upstreams: Upstreams, asked: Asked, hold: Hold) -> AsyncIterator[Socket]:
    inbound, match = asked.inbound, asked.match
    asked.watch.held(hold)
    vouched = await vouch(upstreams, inbound, match, asked.caller)
    headers = headers_of(upstreams, inbound, match, vouched)
    carry(headers, asked.watch.trace)
    # The handshake with the upstream is the gateway's own; only the subprotocols are the caller's.
    kept = CIMultiDict((name, value) for name, value in headers.items() if not is_handshake(name))
    lines = inbound.headers.getall("Sec-WebSocket-Protocol", [])
    protocols = [one.strip() for line in lines for one in line.split(",") if one.strip()]
    async with upstreams.sockets.dial(with_query(match.url, vouched.query), kept, protocols) as far:
        yield far


def is_handshake(name: str) -> bool:
    return name.lower().startswith("sec-websocket-")


@asynccontextmanager
async def paid(
    till: Till, asked: Asked, hold: Hold, head: Head
) -> AsyncIterator[tuple[Fare | None, Receipt]]:
    """Charge the connection now, or in pieces while it lasts and the last one at its end."""
    metering = hold.metering
    if metering is None:
        yield None, await tasks.finish(hold.post(head))
        return

    async def renew(price: Price) -> Hold:
        quote = Quote((price,), asked.quote.description)
        return await till.prepaid.hold(
            replace(asked.inbound, call_id=ids.new()), asked.caller, asked.match, quote
        )

    fare = Fare(hold, metering, head, renew, asked.watch.charge)
    try:
        yield fare, metering.receipt
    finally:
        await tasks.finish(fare.close())


def accepting(inbound: Inbound, far: Socket, receipt: Receipt) -> Near:
    near = web.WebSocketResponse(
        protocols=(far.protocol,) if far.protocol else (), autoping=False, autoclose=False, compress=False,
        heartbeat=HEARTBEAT_SECONDS, max_msg_size=MESSAGE_BYTES_MAX, decode_text=False,
    )  # fmt: skip
    near.headers[hygiene.CALL_ID] = str(inbound.call_id)
    near.headers.update(receipt.headers)
    return near


async def converse(near: Near, far: Socket, fare: Fare | None) -> Ended:
    endings: list[BaseException] = []
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(outward(near, far, fare))
            group.create_task(inward(far, near, fare))
            if fare is not None:
                group.create_task(keep(fare))
    except* Ended as found:
        endings.extend(found.exceptions)
    first = endings[0]
    assert isinstance(first, Ended), "a group of endings has nothing else in it"
    return first


async def keep(fare: Fare) -> None:
    try:
        await fare.keep_forever()
    except (Short, Refusal) as error:
        raise Ended(OUT_OF_MONEY, GOING_AWAY, str(error)) from None


async def outward(near: Near, far: Socket, fare: Fare | None) -> None:
    await pump(near, far, fare, Ended(GOING_AWAY, GOING_AWAY), Ended(BAD_GATEWAY, GOING_AWAY))


async def inward(far: Socket, near: Near, fare: Fare | None) -> None:
    await pump(far, near, fare, Ended(BAD_GATEWAY, GOING_AWAY), Ended(GOING_AWAY, GOING_AWAY))


async def pump(
    source: Near | Socket, sink: Near | Socket, fare: Fare | None, is_gone: Ended, is_deaf: Ended
) -> None:
    """Pass on what one side says until it says no more: ``is_gone`` if it vanished, ``is_deaf`` if the other
    did.
    """
    while True:
        message = await source.receive()
        if message.type is WSMsgType.CLOSE:
            code = message.data if message.data in SENDABLE or message.data >= 3000 else 1000
            raise Ended(code, code, message.extra or "")
        if message.type is WSMsgType.ERROR and source.close_code == 1009:
            raise Ended(1009, 1009, f"a message may have {MESSAGE_BYTES_MAX} bytes")
        if message.type in (WSMsgType.CLOSED, WSMsgType.CLOSING, WSMsgType.ERROR):
            raise is_gone
        try:
            if fare is not None and message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                await fare.carry(len(message.data))
            await sink.send_frame(message.data, message.type)
        except (Short, Refusal) as error:
            raise Ended(OUT_OF_MONEY, GOING_AWAY, str(error)) from None
        except (ClientError, ConnectionError):
            raise is_deaf from None


def short(reason: str) -> bytes:
    """What fits into a close frame, RFC 6455 section 5.5."""
    return reason.encode()[:REASON_BYTES_MAX].decode(errors="ignore").encode()
