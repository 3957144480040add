"""Write an upstream's answer to the caller as it arrives, at the caller's pace."""

from collections.abc import AsyncIterator, Sequence

from aiohttp import ClientError
from multidict import CIMultiDict

from gateway.buckets import Allowance
from gateway.front.arrived import Arrived
from gateway.front.reply import Reply
from gateway.kit import hygiene
from gateway.kit.money import to_text
from gateway.kit.problem import Refusal
from gateway.metering.watch import Watch
from gateway.types import Answer, Inbound, Receipt
from gateway.upstreams.arriving import Arriving


async def relay(
    request: Arrived,
    inbound: Inbound,
    answer: Answer,
    receipt: Receipt | None,
    allowance: Allowance | None,
    watch: Watch,
) -> Reply:
    head = answer.head
    reply = Reply(request, head.status, head.reason, headers_of(inbound, answer, receipt, allowance))
    is_whole = False
    try:
        await write(reply, answer.chunks)
        is_whole = True
    except (ClientError, ConnectionError, TimeoutError):
        # A caller that hung up is charged for the head that it asked for.
        watch.broken = "hung_up" if is_gone(request) else "cut_short"
    except Refusal as refusal:
        # The head is out, so there is no other answer any more.
        watch.broken, watch.refusal = "cut_short", refusal
    finally:
        if not is_whole:
            # The connection ends too, whoever broke off: a shorter body must not look like a whole one.
            cut(request)
    return reply


async def write(reply: Reply, chunks: AsyncIterator[bytes]) -> None:
    body = chunks.whole() if isinstance(chunks, Arriving) else None
    if body is not None:
        reply.send_whole(body)
        await reply.drained()
        return
    await reply.begin()
    async for chunk in chunks:
        await reply.send(chunk)
    await reply.end()


def is_gone(request: Arrived) -> bool:
    """Whether the caller hung up: aiohttp's errors for its end and the upstream's are the same ones."""
    return request.transport is None or request.transport.is_closing()


def cut(request: Arrived) -> None:
    if request.transport is not None:
        request.transport.abort()


def headers_of(
    inbound: Inbound, answer: Answer, receipt: Receipt | None, allowance: Allowance | None
) -> CIMultiDict[str]:
    headers = CIMultiDict(answer.head.headers)
    # In place of the upstream's own, which are about the publisher's key and not about the caller's.
    if allowance is not None:
        headers.update(allowance.headers)
    headers[hygiene.CALL_ID] = str(inbound.call_id)
    headers.setdefault("Server", "farebox")
    # A free call that its upstream was paid for is its payer's too.
    if receipt is None or (receipt.rail == "free" and not receipt.headers):
        return headers
    directives = headers.getall("Cache-Control", ())
    headers["Cache-Control"] = private(directives) if directives else "private"
    if receipt.asset is not None and receipt.cost is not None:
        headers[hygiene.CHARGED] = f"{to_text(receipt.cost, receipt.asset.decimals)} {receipt.asset.symbol}"
    headers.update(receipt.headers)
    return headers


def private(directives: Sequence[str]) -> str:
    """Paid content is for its payer: no shared cache may keep it, whatever the upstream allows."""
    asked = [one.strip() for line in directives for one in line.split(",")]
    kept = [
        one for one in asked if one and one.lower() != "public" and not one.lower().startswith("s-maxage")
    ]
    return ", ".join(dict.fromkeys(["private", *kept]))
