"""The values one stage hands to the next. Each is frozen; a stage returns a new one.

Amounts are integers in the atomic unit of the asset beside them. Addresses are lower-case ``0x`` hexadecimal.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import field
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Literal, Protocol, TypeAlias
from uuid import UUID

from multidict import CIMultiDictProxy

from gateway.bodies import Body as Body
from gateway.callers import Caller as Caller
from gateway.callers import Mode as Mode
from gateway.front.arrived import Heading
from gateway.heads import Head as Head
from gateway.kit.values import dataclass
from gateway.max_price import MaxPrice
from gateway.options import Dsn, Exchange, Ownership, Passthrough, Policy, Question
from gateway.tariffs import NOTHING_MEASURED, Rows, Tariff, Used
from gateway.upstream_payment import UpstreamPayment
from gateway.upstreams.branches import Branch
from gateway.vouching import Authorizer as Authorizer
from gateway.vouching import Fetch as Fetch
from gateway.vouching import Outbound as Outbound
from gateway.vouching import Vouched as Vouched

Rail: TypeAlias = Literal["free", "prepaid", "x402"]
Outcome: TypeAlias = Literal[
    "charged",
    "free",
    "upstream_refused",
    "upstream_failed",
    "upstream_timeout",
    "settlement_failed",
    "abandoned",
]
"""How a call ended, as its usage row says."""


@dataclass(frozen=True, slots=True)
class Asset:
    """An EIP-3009 token on an EVM network. ``name`` and ``version`` are those of its EIP-712 domain."""

    id: UUID
    network: str
    """CAIP-2."""
    address: str
    symbol: str
    name: str
    version: str
    decimals: int
    mode: Mode

    @property
    def chain_id(self) -> int:
        return int(self.network.partition(":")[2])


@dataclass(frozen=True, slots=True)
class Inbound:
    """A request as admitted: within the limits, hop-by-hop and trust headers gone."""

    call_id: UUID
    method: str
    slug: str
    path: str
    """As the client sent it, still percent-encoded, from the slash after the slug; "" for the bare slug."""
    query: str
    headers: CIMultiDictProxy[str]
    credentials: "Credentials"
    client_address: IPv4Address | IPv6Address
    url: str
    """What was asked for, on the configured public origin."""
    body: Body
    is_websocket: bool = False
    """Whether it asks for a connection instead of an answer."""
    idempotency_key: str | None = None
    max_price: MaxPrice | None = None
    upstream_payment: UpstreamPayment | None = None
    heading: Heading | None = None
    """What the headers were read from, and what was found out from them alone."""
    question: Question | None = None
    """What is asked of a publisher's database; read before the price, which depends on it."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request brought to be known or to pay by. Never forwarded."""

    api_key: str | None
    payment_v1: str | None
    """The value of ``X-PAYMENT``."""
    payment_v2: str | None
    """The value of ``PAYMENT-SIGNATURE``."""

    @property
    def has_payment(self) -> bool:
        return self.payment_v1 is not None or self.payment_v2 is not None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A documented operation of a publisher."""

    method: str
    segments: tuple[str, ...]
    """Its path, split at the slashes; a segment in braces matches anything."""
    is_for_anyone: bool | None
    """True for the public, False for callers with a key, None where the publisher did not say."""
    is_protected: bool
    protection_reason: str | None
    description: str | None
    is_upfront: bool | None = None
    """Whether x402 payments settle before the upstream is asked; None where the publisher decides."""


@dataclass(frozen=True, slots=True)
class Pricing:
    """A publisher's prices in one asset, by the field names of the API."""

    asset: Asset
    earnings_id: UUID
    """The account that is credited."""
    prices: Mapping[str, int]
    endpoint_prices: Mapping[int, int]
    """By the position of the endpoint in the route's list."""
    is_prepaid_enabled: bool
    is_onchain_enabled: bool
    tariff: Tariff | None = None
    """None for prices that are known before the call."""
    connection_tariff: Tariff | None = None
    """Of a WebSocket, whose price is that of one call and of what passes through it."""


@dataclass(frozen=True, slots=True)
class Route:
    """A publisher as published: all that a call needs to know of it."""

    publisher_id: UUID
    organization_id: UUID
    slug: str
    name: str
    description: str | None
    api_url: str
    wallet_address: str
    wallet_network: str
    endpoints: tuple[Endpoint, ...]
    undocumented: Policy
    pricing: tuple[Pricing, ...]
    upstream_headers: Mapping[str, str]
    auth: "Authorizer | None"
    is_upfront: bool = False
    requires_payment_identifier: bool = False
    exchange: Exchange | None = None
    ownership: Ownership | None = None
    oauth_provider_id: UUID | None = None
    """Whose tokens the upstream wants of its callers."""
    passthrough: Passthrough | None = None
    is_answer_read: bool = False
    """Whether the gateway has to understand answers, so that they have to come readable and whole."""
    calls_per_minute_max: int | None = None
    database: Dsn | Branch | None = None
    quoted: dict[tuple[str, int | None], tuple["Price", ...]] = field(
        init=False, default_factory=dict, compare=False
    )
    """What calls of a method and an endpoint were priced at: it stays so for as long as this is published."""


@dataclass(frozen=True, slots=True)
class Match:
    route: Route
    endpoint: Endpoint | None
    position: int | None
    """Of the endpoint in the route's list."""
    url: str
    """The upstream URL. It is what was priced and exactly what is requested."""

    @property
    def is_upfront(self) -> bool:
        if self.route.passthrough is not None:
            # What is dear or has side effects is paid to the upstream; ours is a fee on that.
            return False
        own = None if self.endpoint is None else self.endpoint.is_upfront
        return self.route.is_upfront if own is None else own


@dataclass(frozen=True, slots=True)
class Price:
    """The most a call may cost in one asset, and the account it is paid to."""

    asset: Asset
    ceiling: int
    payee_id: UUID
    is_prepaid_enabled: bool
    is_onchain_enabled: bool
    base: int = 0
    """With a tariff: the part that does not depend on the answer."""
    floor: int = 0
    tariff: Tariff | None = None
    minimum_balance: int = 0
    """A balance below it is refused, once it has been for as long as the grace period."""
    grace_minutes: int = 0


@dataclass(frozen=True, slots=True)
class Quote:
    """What a call may cost, in each asset that the publisher takes; no prices at all for a free call."""

    prices: tuple[Price, ...]
    description: str
    """What is sold, in a line: it ends up on the caller's wallet and in the offers."""
    terms: dict[Mode | None, Any] = field(init=False, default_factory=dict, compare=False)
    """The prepaid rail's: what it needs to know for each call at this price."""

    @property
    def is_free(self) -> bool:
        return not self.prices


@dataclass(frozen=True, slots=True)
class Answer:
    head: Head
    chunks: AsyncIterator[bytes]
    rows: Rows | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a call cost, and for x402 the settlement that the payer is shown."""

    call_id: UUID
    rail: Rail
    cost: int | None
    """None while the body that decides it is under way."""
    asset: Asset | None
    headers: Mapping[str, str] = field(default_factory=dict)


class Begun(Protocol):
    """What is known of a call's payment before the call has ended."""

    @property
    def rail(self) -> Rail: ...
    @property
    def payer(self) -> str | None:
        """The wallet that pays, where one does."""


@dataclass(frozen=True, slots=True)
class Metering:
    """What it takes to charge a call by its answer's body."""

    price: Price
    tariff: Tariff
    began: int
    """When the hold was opened, by the monotonic clock, in nanoseconds."""
    seconds_max: float
    """The hold is charged by then: later it may have expired."""
    receipt: Receipt
    """Of a cost that is not known yet."""


Keeper: TypeAlias = Callable[[Answer], AbstractAsyncContextManager[Answer] | None]
"""Passes an answer on, and keeps a copy for whoever sends the call again; None where posting keeps it."""


class Hold(Protocol):
    """Money set aside for one call, by whatever rail, until it is posted or voided.

    Only ``pay`` makes one. Closing a hold that is closed changes nothing.
    """

    @property
    def event(self) -> Begun: ...

    @property
    def is_open(self) -> bool:
        """Until it was asked to post or to void."""

    @property
    def is_steady(self) -> bool:
        """False where a cancellation can stop a closing half way: that one needs ``tasks.finish``."""

    @property
    def keeper(self) -> "Keeper | None":
        """None when nobody can ask for the answer again."""

    @property
    def metering(self) -> "Metering | None":
        """None when the answer's head is all that a charge waits for."""

    async def post(self, head: Head, measured: Used = NOTHING_MEASURED) -> Receipt:
        """Charge the call. A ``Refusal`` when it turns out that it cannot be charged."""

    async def void(self, outcome: Outcome, status: int | None) -> Receipt | None:
        """Give the money back, and write down why. A receipt says what the chain charged, and where it is."""
