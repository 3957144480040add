"""Write an upstream's answer to the caller as it arrives, at the caller's pace."""

from collections.abc import AsyncIterator, Sequence

from aiohttp import ClientError
from multidict import CIMultiDict

from gateway.buckets import Allowance
from gateway.front.arrived import AnyRequest, Arrived
from gateway.front.reply import Lines, Reply
from gateway.kit import hygiene
from gateway.kit.money import with_symbol
from gateway.kit.problem import Refusal
from gateway.metering.watch import Watch
from gateway.types import Answer, Head, Inbound, Receipt
from gateway.upstreams.arriving import Arriving

# In place of the upstream's own, where it has them.
LIMITS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "RateLimit-Policy", "RateLimit")
WRITTEN = (*LIMITS, hygiene.CALL_ID, hygiene.CHARGED)


async def relay(
    request: Arrived,
    inbound: Inbound,
    answer: Answer,
    receipt: Receipt | None,
    watch: Watch,
) -> Reply:
    head = answer.head
    lines = lines_of(head, receipt)
    reply = Reply(request, head.status, head.reason, lines, own_lines(inbound, receipt, watch.allowance))
    is_whole = False
    try:
        chunks = answer.chunks
        # Trailers have a place behind chunks only.
        body = chunks.whole() if isinstance(chunks, Arriving) and not chunks.trailers else None
        if body is not None:
            reply.send_whole(body)
            if reply.connection.writing_paused:
                await reply.drained()
        else:
            await write(reply, chunks)
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
    await reply.begin()
    if isinstance(chunks, Arriving):
        await reply.pour(chunks)
    else:
        async for chunk in chunks:
            await reply.send(chunk)
    await reply.end(trailers_for(reply.request, chunks))


def trailers_for(request: AnyRequest, chunks: AsyncIterator[bytes]) -> Sequence[tuple[str, str]]:
    """RFC 9110 section 6.5.1: for those who say that they would not ignore them."""
    if not (isinstance(chunks, Arriving) and chunks.trailers):
        return ()
    asked = hygiene.connection_options(request.headers.getall("TE", ()))
    return hygiene.of_trailers(chunks.trailers) if "trailers" in asked else ()


def is_gone(request: Arrived) -> bool:
    """Whether the caller hung up: aiohttp's errors for its end and the upstream's are the same ones."""
    return request.transport is None or request.transport.is_closing()


def cut(request: Arrived) -> None:
    if request.transport is not None:
        request.transport.abort()


def lines_of(head: Head, receipt: Receipt | None) -> Lines:
    """What of an upstream's head is the same in each answer to a call with such a receipt."""
    # A free call that its upstream was paid for is its payer's too.
    names = () if receipt is None else tuple(receipt.headers)
    is_free = not names and (receipt is None or receipt.rail == "free")
    lines = head.written.get((is_free, names))
    if lines is None:
        headers = kept_of(head, is_free=is_free)
        # In place of the upstream's own, which are about the publisher's key and not about the caller's.
        for name in (*WRITTEN, *names):
            headers.popall(name, None)
        lines = head.written[is_free, names] = Lines(head.status, head.reason, headers)
    return lines


def own_lines(inbound: Inbound, receipt: Receipt | None, allowance: Allowance | None) -> str:
    """What is different in each: the limits, the call's id, what it cost, and how its payment stands."""
    limits = "" if allowance is None else allowance.lines
    charged = told = ""
    if receipt is not None:
        if receipt.asset is not None and receipt.cost is not None:
            cost = with_symbol(receipt.cost, receipt.asset.decimals, receipt.asset.symbol)
            charged = f"{hygiene.CHARGED}: {cost}\r\n"
        if receipt.headers:
            told = "".join([f"{name}: {value}\r\n" for name, value in receipt.headers.items()])
    return f"{limits}{hygiene.CALL_ID}: {inbound.call_id}\r\n{charged}{told}"


def kept_of(head: Head, *, is_free: bool) -> CIMultiDict[str]:
    headers = CIMultiDict(head.headers)
    headers.setdefault("Server", "farebox")
    if not is_free:
        directives = headers.getall("Cache-Control", ())
        headers["Cache-Control"] = private(directives) if directives else "private"
    return headers


def private(directives: Sequence[str]) -> str:
    """Paid content is for its payer: no shared cache may keep it, whatever the upstream allows."""
    asked = [one.strip() for line in directives for one in line.split(",")]
    kept = [
        one for one in asked if one and one.lower() != "public" and not one.lower().startswith("s-maxage")
    ]
    return ", ".join(dict.fromkeys(["private", *kept]))
