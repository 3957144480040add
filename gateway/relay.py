"""Write an upstream's answer to the caller as it arrives, at the caller's pace."""

import structlog
from aiohttp import ClientError, web
from multidict import CIMultiDict

from gateway.buckets import Allowance
from gateway.kit import hygiene
from gateway.kit.problem import Refusal
from gateway.types import Answer, Inbound, Receipt

log = structlog.get_logger(__name__)


async def relay(
    request: web.BaseRequest, inbound: Inbound, answer: Answer, receipt: Receipt | None, allowance: Allowance
) -> web.StreamResponse:
    head = answer.head
    response = web.StreamResponse(
        status=head.status, reason=head.reason, headers=headers_of(inbound, answer, receipt, allowance)
    )
    is_whole = False
    try:
        await response.prepare(request)
        async for chunk in answer.chunks:
            await response.write(chunk)
        await response.write_eof()
        is_whole = True
    except (ClientError, TimeoutError) as error:
        # The upstream broke off.
        log.info("call.cut_short", reason=type(error).__name__)
    except ConnectionError:
        # The caller hung up. It is charged for the head that it asked for.
        log.info("call.hung_up")
    except Refusal as refusal:
        # The head is out, so there is no other answer any more.
        log.warning("call.cut_short", reason=refusal.slug)
    finally:
        if not is_whole:
            # So does this connection, whatever it was: a shorter body must not look like a whole one.
            cut(request)
    return response


def cut(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


def headers_of(
    inbound: Inbound, answer: Answer, receipt: Receipt | None, allowance: Allowance
) -> CIMultiDict[str]:
    headers = CIMultiDict(answer.head.headers)
    # In place of the upstream's own, which are about the publisher's key and not about the caller's.
    for name, value in allowance.headers.items():
        headers[name] = value
    headers[hygiene.CALL_ID] = str(inbound.call_id)
    headers.setdefault("Server", "farebox")
    if receipt is None or receipt.rail == "free":
        return headers
    headers["Cache-Control"] = private(headers.getall("Cache-Control", []))
    for name, value in receipt.headers.items():
        headers[name] = value
    return headers


def private(directives: list[str]) -> str:
    """Paid content is for its payer: no shared cache may keep it, whatever the upstream allows."""
    asked = [one.strip() for line in directives for one in line.split(",")]
    kept = [
        one for one in asked if one and one.lower() != "public" and not one.lower().startswith("s-maxage")
    ]
    return ", ".join(dict.fromkeys(["private", *kept]))
