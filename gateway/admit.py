"""Stage 1 of 9, before match: take a request in, or refuse it before anybody works for it.

What leaves this stage has a call id, one meaning, a body within the limit, and no header that was meant for
the connection or for the gateway.
"""

from collections.abc import Mapping
from uuid import UUID

from aiohttp import web
from multidict import CIMultiDictProxy

from gateway import max_price, upstream_payment
from gateway.kit import hygiene
from gateway.kit.addresses import address_of
from gateway.kit.body import RequestBody
from gateway.kit.problem import Refusal, Unauthorized, invalid
from gateway.kit.proxies import Proxies, client_of
from gateway.max_price import MaxPrice
from gateway.types import Credentials, Inbound
from gateway.upstream_payment import UpstreamPayment

PREFIX = "/publishers/"
NOTHING = Credentials(None, None, None)
PAYMENTS = ("X-PAYMENT", "PAYMENT-SIGNATURE")
IDEMPOTENCY_KEY = "Idempotency-Key"
ONCE = (*PAYMENTS, IDEMPOTENCY_KEY, max_price.HEADER, upstream_payment.HEADER)


class MethodRefused(Refusal):
    status, slug, title = 405, "method-not-allowed", "Method not allowed"
    headers: Mapping[str, str] = {"Allow": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}


def admit(
    request: web.BaseRequest, call_id: UUID, origin: str, body_bytes_max: int, proxies: Proxies
) -> Inbound:
    path, headers = request.rel_url.raw_path, request.headers
    query = request.rel_url.raw_query_string
    refuse_ambiguous(request.method, query, headers)
    slug, slash, rest = path.removeprefix(PREFIX).partition("/")
    is_socket = "Upgrade" in headers and is_websocket(request)
    return Inbound(
        call_id=call_id,
        method=request.method,
        slug=slug,
        path=slash + rest,
        query=query,
        headers=hygiene.of_request(headers),
        credentials=credentials(headers),
        client_address=client_of(address_of(request.remote or "0.0.0.0"), headers, proxies),  # noqa: S104
        url=f"{origin}{path}?{query}" if query else origin + path,
        body=RequestBody(request, body_bytes_max),
        is_websocket=is_socket,
        # A conversation cannot be had again.
        idempotency_key=None if is_socket else idempotency_key(headers.get(IDEMPOTENCY_KEY)),
        max_price=most(headers.get(max_price.HEADER)),
        upstream_payment=for_upstream(headers.get(upstream_payment.HEADER)),
    )


def refuse_ambiguous(method: str, query: str, headers: CIMultiDictProxy[str]) -> None:
    """Of the head's framing the connection made sure; this is about what its fields mean."""
    if method in ("TRACE", "CONNECT"):
        # TRACE would echo the publisher's credentials to the caller.
        raise MethodRefused(f"{method} is not served here")
    if query and hygiene.is_key(query):
        raise invalid("query", "has an API key, which ends up in logs; send it as Authorization: Bearer")
    for name in ONCE:
        if name in headers and len(headers.getall(name)) > 1:
            raise invalid(f"header/{name}", "was sent more than once")


def is_websocket(request: web.BaseRequest) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket" and request.method == "GET"


def idempotency_key(key: str | None) -> str | None:
    if key is not None and not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        raise invalid(f"header/{IDEMPOTENCY_KEY}", "is not 1 to 255 printable ASCII characters")
    return key


def most(header: str | None) -> MaxPrice | None:
    try:
        return None if header is None else max_price.read(header)
    except ValueError as error:
        raise invalid(f"header/{max_price.HEADER}", str(error)) from None


def for_upstream(header: str | None) -> UpstreamPayment | None:
    try:
        return None if header is None else upstream_payment.read(header)
    except ValueError as error:
        raise invalid(f"header/{upstream_payment.HEADER}", str(error)) from None


def credentials(headers: CIMultiDictProxy[str]) -> Credentials:
    payment_v1, payment_v2 = headers.get("X-PAYMENT"), headers.get("PAYMENT-SIGNATURE")
    authorization = headers.get("Authorization")
    if authorization is None:
        if payment_v1 is None and payment_v2 is None:
            return NOTHING
        return Credentials(None, payment_v1, payment_v2)
    if len(headers.getall("Authorization")) > 1:
        raise invalid("header/Authorization", "was sent more than once")
    scheme, _, key = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized("send an API key as Authorization: Bearer")
    return Credentials(key.strip(), payment_v1, payment_v2)
