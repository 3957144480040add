"""Stage 1 of 9, before match: take a request in, or refuse it before anybody works for it.

What leaves this stage has a call id, one meaning, a body within the limit, and no header that was meant for
the connection or for the gateway.
"""

from collections.abc import Mapping
from uuid import UUID

from multidict import CIMultiDictProxy

from gateway import max_price, upstream_payment
from gateway.front.arrived import Arrived, Heading
from gateway.kit import hygiene, queries
from gateway.kit.body import NO_BODY, body_of
from gateway.kit.problem import Refusal, Unauthorized, invalid
from gateway.kit.proxies import Address, Proxies, client_of
from gateway.kit.values import dataclass
from gateway.max_price import MaxPrice
from gateway.types import Body, Credentials, Inbound
from gateway.upstream_payment import UpstreamPayment

PREFIX = "/publishers/"
NOTHING = Credentials(None, None, None)
PAYMENTS = ("X-PAYMENT", "PAYMENT-SIGNATURE")
IDEMPOTENCY_KEY = "Idempotency-Key"
ONCE = (*PAYMENTS, IDEMPOTENCY_KEY, max_price.HEADER, upstream_payment.HEADER)


class MethodRefused(Refusal):
    status, slug, title = 405, "method-not-allowed", "Method not allowed"
    headers: Mapping[str, str] = {"Allow": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a request's fields say to the gateway, whatever it is that they come with."""

    headers: CIMultiDictProxy[str]
    credentials: Credentials
    idempotency_key: str | None
    max_price: MaxPrice | None
    upstream_payment: UpstreamPayment | None
    is_for_websocket: bool


def admit(request: Arrived, call_id: UUID, origin: str, body_bytes_max: int, proxies: Proxies) -> Inbound:
    path, query, method, heading = request.path, request.query, request.method, request.heading
    refuse_ambiguous(method, query)
    # The next request that says the same means the same.
    meaning: Meaning = heading.meaning or (
        read(heading) if heading.base is None else vary(heading, heading.base)
    )
    slug, slash, rest = path[len(PREFIX) :].partition("/")
    is_socket = meaning.is_for_websocket and method == "GET"
    peer = request.protocol.address
    return Inbound(
        call_id,
        method,
        slug,
        slash + rest,
        query,
        meaning.headers,
        meaning.credentials,
        client_of(peer, heading.headers, proxies) if proxies else peer,
        f"{origin}{path}?{query}" if query else origin + path,
        body_of(request, body_bytes_max),
        is_socket,
        # A conversation cannot be had again.
        None if is_socket else meaning.idempotency_key,
        meaning.max_price,
        meaning.upstream_payment,
        heading,
    )


def again(first: Inbound, request: Arrived, call_id: UUID, body_bytes_max: int, proxies: Proxies) -> Inbound:
    """A request with the head of one that was admitted before, or with that and what is another in each."""
    peer, heading = request.protocol.address, request.heading
    address = client_of(peer, request.headers, proxies) if proxies else peer
    said = first if heading.base is None else vary(heading, heading.base)
    kept = first.heading if heading.base is None else heading
    return like(first, said, kept, call_id, first.query, first.url, address, body_of(request, body_bytes_max))


def bare(first: Inbound) -> Inbound:
    """What is kept of a request for the next one with its head: not the body, nor what that holds on to, nor
    what is another in the next one.
    """
    base = None if first.heading is None else first.heading.base
    said: Meaning | Inbound = first if base is None else base.meaning
    return like(
        first, said, base or first.heading, first.call_id, first.query, first.url, first.client_address,
        NO_BODY,
    )  # fmt: skip


def asking(first: Inbound, query: str) -> Inbound:
    """The same of what is kept of a request, with another query, which is to be as unambiguous."""
    refuse_ambiguous(first.method, query)
    url = queries.replaced(first.url, first.query, query)
    return like(first, first, first.heading, first.call_id, query, url, first.client_address, NO_BODY)


def like(
    first: Inbound,
    said: Meaning | Inbound,
    heading: Heading | None,
    call_id: UUID,
    query: str,
    url: str,
    address: Address,
    body: Body,
) -> Inbound:
    return Inbound(
        call_id,
        first.method,
        first.slug,
        first.path,
        query,
        said.headers,
        said.credentials,
        address,
        url,
        body,
        first.is_websocket,
        # As in ``admit``: a conversation cannot be had again.
        None if first.is_websocket else said.idempotency_key,
        first.max_price,
        first.upstream_payment,
        heading,
    )


def refuse_ambiguous(method: str, query: str) -> None:
    """Of the head's framing the connection made sure; this is about what its line means."""
    if method in ("TRACE", "CONNECT"):
        # TRACE would echo the publisher's credentials to the caller.
        raise MethodRefused(f"{method} is not served here")
    if query and hygiene.is_key(query):
        raise invalid("query", "has an API key, which ends up in logs; send it as Authorization: Bearer")


def read(heading: Heading) -> Meaning:
    headers = heading.headers
    for name in ONCE:
        if name in headers and len(headers.getall(name)) > 1:
            raise invalid(f"header/{name}", "was sent more than once")
    meaning = heading.meaning = Meaning(
        headers=hygiene.of_request(headers),
        credentials=credentials(headers),
        idempotency_key=idempotency_key(headers.get(IDEMPOTENCY_KEY)),
        max_price=most(headers.get(max_price.HEADER)),
        upstream_payment=for_upstream(headers.get(upstream_payment.HEADER)),
        is_for_websocket=headers.get("Upgrade", "").lower() == "websocket",
    )
    return meaning


def vary(heading: Heading, base: Heading) -> Meaning:
    """What fields say of which most were read before: the others are ids, and payments."""
    first: Meaning = base.meaning or read(base)
    headers = heading.headers
    is_paid = len(headers) == len(base.headers) + sum(name in headers for name in PAYMENTS)
    meaning = heading.meaning = Meaning(
        # A payment goes no further.
        headers=first.headers if is_paid else hygiene.of_request(headers),
        credentials=credentials(headers),
        idempotency_key=idempotency_key(headers.get(IDEMPOTENCY_KEY)),
        max_price=first.max_price,
        upstream_payment=first.upstream_payment,
        is_for_websocket=first.is_for_websocket,
    )
    return meaning


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
