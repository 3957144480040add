"""Stage 1 of 9, before match: take a request in, or refuse it before anybody works for it.

What leaves this stage has a call id, one meaning, a body within the limit, and no header that was meant for
the connection or for the gateway.
"""

from collections.abc import Mapping
from uuid import UUID

from aiohttp import web

from gateway import max_price, upstream_payment
from gateway.kit import hygiene
from gateway.kit.addresses import address_of
from gateway.kit.body import RequestBody
from gateway.kit.problem import Refusal, Unauthorized, invalid
from gateway.max_price import MaxPrice
from gateway.types import Credentials, Inbound
from gateway.upstream_payment import UpstreamPayment

PREFIX = "/publishers/"
PAYMENTS = ("X-PAYMENT", "PAYMENT-SIGNATURE")
IDEMPOTENCY_KEY = "Idempotency-Key"
ONCE = (*PAYMENTS, IDEMPOTENCY_KEY, max_price.HEADER, upstream_payment.HEADER)


class MethodRefused(Refusal):
    status, slug, title = 405, "method-not-allowed", "Method not allowed"
    headers: Mapping[str, str] = {"Allow": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}


def admit(request: web.BaseRequest, call_id: UUID, origin: str, body_bytes_max: int) -> Inbound:
    refuse_ambiguous(request)
    slug, slash, rest = request.rel_url.raw_path.removeprefix(PREFIX).partition("/")
    return Inbound(
        call_id=call_id,
        method=request.method,
        slug=slug,
        path=slash + rest,
        query=request.rel_url.raw_query_string,
        headers=hygiene.of_request(request.headers),
        credentials=credentials(request),
        client_address=address_of(request.remote or "0.0.0.0"),  # noqa: S104
        url=origin + request.rel_url.raw_path_qs,
        body=RequestBody(request, body_bytes_max),
        is_websocket=is_websocket(request),
        idempotency_key=idempotency_key(request),
        max_price=most(request),
        upstream_payment=for_upstream(request),
    )


def refuse_ambiguous(request: web.BaseRequest) -> None:
    """Of the head's framing the connection made sure; this is about what its fields mean."""
    headers = request.headers
    if request.method in ("TRACE", "CONNECT"):
        # TRACE would echo the publisher's credentials to the caller.
        raise MethodRefused(f"{request.method} is not served here")
    if hygiene.is_key(request.rel_url.raw_query_string):
        raise invalid("query", "has an API key, which ends up in logs; send it as Authorization: Bearer")
    for name in ONCE:
        if len(headers.getall(name, ())) > 1:
            raise invalid(f"header/{name}", "was sent more than once")


def is_websocket(request: web.BaseRequest) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket" and request.method == "GET"


def idempotency_key(request: web.BaseRequest) -> str | None:
    # A conversation cannot be had again.
    key = None if is_websocket(request) else request.headers.get(IDEMPOTENCY_KEY)
    if key is not None and not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        raise invalid(f"header/{IDEMPOTENCY_KEY}", "is not 1 to 255 printable ASCII characters")
    return key


def most(request: web.BaseRequest) -> MaxPrice | None:
    header = request.headers.get(max_price.HEADER)
    try:
        return None if header is None else max_price.read(header)
    except ValueError as error:
        raise invalid(f"header/{max_price.HEADER}", str(error)) from None


def for_upstream(request: web.BaseRequest) -> UpstreamPayment | None:
    header = request.headers.get(upstream_payment.HEADER)
    try:
        return None if header is None else upstream_payment.read(header)
    except ValueError as error:
        raise invalid(f"header/{upstream_payment.HEADER}", str(error)) from None


def credentials(request: web.BaseRequest) -> Credentials:
    headers = request.headers
    payment_v1, payment_v2 = (headers.get(name) for name in PAYMENTS)
    authorization = headers.getall("Authorization", ())
    if len(authorization) > 1:
        raise invalid("header/Authorization", "was sent more than once")
    if not authorization:
        return Credentials(None, payment_v1, payment_v2)
    scheme, _, key = authorization[0].partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("send an API key as Authorization: Bearer")
    return Credentials(key.strip(), payment_v1, payment_v2)
