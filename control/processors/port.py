"""What a payment processor is to us, in values of ours: its SDK stays in the one module that speaks to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias
from uuid import UUID

from config.plans import Plan
from gateway.kit.problem import Refusal
from gateway.types import Asset, Mode

Provider: TypeAlias = Literal["stripe", "polar"]

Status: TypeAlias = Literal["incomplete", "trialing", "active", "past_due", "paused", "canceled"]

# Under which name a processor keeps the id of our row.
OUR_ID = "farebox_payment_id"


class CardPaymentsNotConfigured(Refusal):
    status, slug, title = 503, "card-payments-not-configured", "Card payments are not configured"


class ProcessorUnavailable(Refusal):
    """It cannot be asked now, or it refuses us: nothing that the caller could change."""

    status, slug, title = 503, "payment-processor-unavailable", "The payment processor cannot be asked now"
    headers: Mapping[str, str] = {"Retry-After": "5"}


class ProcessorRefused(Refusal):
    """It says no to what the caller sent, in its own words."""

    status, slug, title = 402, "card-refused", "The card was refused"


class BadSignature(Exception):
    """A webhook that the processor did not sign, or signed too long ago."""


class BadPayload(BadSignature):
    """A webhook that is signed, and says nothing that we could read."""


class Mismatch(Exception):
    """What was paid is not what was asked for. The text is a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a webhook says, as far as it is believed: how its subject stands is asked for."""

    type: str
    is_live: bool | None = None
    """None where the processor does not say."""
    account: str | None = None
    """Another account of theirs that it is about; ours is not named."""
    subject: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a payment stands at the processor now."""

    state: Literal["open", "paid", "failed", "expired", "canceled"]
    our_id: UUID | None
    amount_cents: int
    currency: str
    is_live: bool
    session_id: str | None = None
    intent_id: str | None = None
    charge_id: str | None = None
    url: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    failure_code: str | None = None
    failure_message: str | None = None


@dataclass(frozen=True, slots=True)
class Reversal:
    """A refund or a dispute of a payment."""

    id: str
    kind: Literal["refund", "dispute"]
    amount_cents: int
    is_standing: bool
    """False once the money is ours again: a refund that failed, a dispute that was won."""


@dataclass(frozen=True, slots=True)
class Card:
    id: str
    type: str
    customer_id: str | None
    brand: str | None = None
    last4: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Subscribed:
    """How a plan that was bought at Polar stands there now."""

    id: str
    organization_id: UUID | None
    """As we wrote it on the page that it was bought on; None where that was none of ours."""
    created_by: UUID | None
    customer_id: str
    product_id: str
    status: Status
    current_period_end: datetime
    canceled_at: datetime | None
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Offered:
    """A plan that somebody is about to buy, and where they are sent afterwards."""

    product_id: str
    organization_id: UUID
    created_by: UUID
    tier: str
    email: str | None
    success_url: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A payment that a processor is to take."""

    id: UUID
    amount_cents: int
    description: str
    return_to: str


class Checkouts(Protocol):
    """What every processor does for us: take a deposit on a page of its own."""

    provider: Provider
    mode: Mode
    asset: Asset
    takes_deposits: bool

    def verify(self, body: bytes, headers: Mapping[str, str]) -> tuple[str, str]:
        """The id and the type of an event that the processor has signed just now."""

    def read(self, body: bytes) -> Told: ...
    async def checkout(self, asked: Asked) -> Standing: ...
    async def taken_since(self, since: datetime) -> Sequence[Standing]:
        """Every payment of ours that it took of what was begun there since."""

    async def close(self) -> None: ...


class Cards(Checkouts, Protocol):
    """What Stripe does besides: payment intents, and cards that stay."""

    publishable_key: str | None

    async def checkout_standing(self, session_id: str) -> Standing: ...
    async def intent(self, asked: Asked) -> Standing: ...
    async def intent_standing(self, intent_id: str) -> Standing: ...
    async def cancel(self, intent_id: str) -> Standing: ...
    async def reversals(self, intent_id: str) -> list[Reversal]: ...
    async def taken_back_since(self, since: datetime) -> Sequence[tuple[str, Reversal]]:
        """Every refund and dispute that was made there since, whoever's, each with its payment intent."""

    async def customer(self, organization_id: UUID) -> str: ...
    async def setup(self, customer_id: str) -> tuple[str, str]: ...
    async def attach(self, card_id: str, customer_id: str) -> Card: ...
    async def detach(self, card_id: str) -> None: ...
    async def card(self, card_id: str) -> Card | None: ...


class Orders(Checkouts, Protocol):
    """Polar, which sells for us: an order comes of a checkout."""

    async def order_standing(self, order_id: str) -> Standing: ...
    async def order_reversals(self, order_id: str) -> list[Reversal]: ...

    plans: Sequence[Plan]
    """The catalogue."""
    products: Mapping[str, str]
    """What is sold of it: by a plan's name, Polar's product."""

    async def offer(self, offered: Offered) -> tuple[str, str]:
        """The id and the address of a page on which a plan is bought."""

    async def portal(self, customer_id: str, return_to: str) -> str:
        """The address of a page on which a customer changes what they bought."""

    async def subscription(self, subscription_id: str) -> Subscribed: ...
    async def revoke(self, subscription_id: str) -> Subscribed:
        """End it now, if it has not ended."""


@dataclass(frozen=True, slots=True)
class Processors:
    """Those that the settings name."""

    stripe: Cards | None = None
    polar: Orders | None = None

    def taking(self, mode: Mode, provider: Provider | None = None) -> Checkouts:
        """Who takes deposits in this money."""
        known = [one for one in (self.stripe, self.polar) if one is not None]
        for one in known:
            if one.mode == mode and one.takes_deposits and provider in (None, one.provider):
                return one
        raise CardPaymentsNotConfigured(missing(mode, provider))

    def cards(self, mode: Mode) -> Cards:
        if self.stripe is None or self.stripe.mode != mode:
            raise CardPaymentsNotConfigured(missing(mode, "stripe"))
        return self.stripe


def missing(mode: Mode, provider: Provider | None) -> str:
    setting = "FAREBOX_POLAR__PRODUCT_ID" if provider == "polar" else "FAREBOX_STRIPE__SECRET_KEY"
    return (
        f"this installation takes no {mode} money by card: its operator has set no {setting} for {mode} money"
    )


def uuid_in(value: object) -> UUID | None:
    """Our id, where a processor keeps it; somebody else's payment has anything there."""
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None
