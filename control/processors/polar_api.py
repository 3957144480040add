"""Polar, by its own SDK. Imported by name, and only where a token is set.

It sells in its own name and adds sales taxes, so that what we asked for is an order's amount without them. It
knows no idempotency keys: a page that was asked for twice is two pages, and only what is paid counts.
"""

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

import structlog
from polar.base import PolarClientError, PolarError, PolarRateLimitError
from polar.v2026_10 import PolarAsync
from polar.v2026_10.inputs import CheckoutCreate
from polar.v2026_10.outputs import Order, Subscription
from standardwebhooks import Webhook, WebhookVerificationError
from standardwebhooks.webhooks import EmptyWebhookSecretError

from config.card_payments import Polar
from config.plans import FREE, Plan
from control.processors import signed
from control.processors.port import (
    OUR_ID,
    Asked,
    BadSignature,
    Offered,
    ProcessorRefused,
    ProcessorUnavailable,
    Provider,
    Reversal,
    Standing,
    Status,
    Subscribed,
    Told,
    uuid_in,
)
from gateway.types import Asset, Mode

TIMEOUT_SECONDS = 20.0
PAGE = 100
# What was refused because of what we said, and not of who we are.
REFUSED = (404, 422)
# A dispute that was prevented, or is only announced, is a refund or nothing.
TAKING = ("needs_response", "under_review", "lost")

# In a page's metadata, as clients of Polar's that know this gateway find them.
ORGANIZATION, CREATED_BY = "orgId", "createdByUserId"
# Of incomplete ones nothing was paid yet, and of unpaid ones nothing any more.
STATUSES: Mapping[str, Status] = {
    "incomplete": "incomplete",
    "trialing": "trialing",
    "active": "active",
    "past_due": "past_due",
    "unpaid": "past_due",
    "paused": "paused",
    "canceled": "canceled",
    "incomplete_expired": "canceled",
}

log = structlog.get_logger(__name__)


class PolarApi:
    provider: Provider = "polar"

    def __init__(self, settings: Polar, mode: Mode, asset: Asset, plans: Sequence[Plan] = (FREE,)) -> None:
        assert settings.access_token is not None, "without a token nobody asks Polar"
        self.mode: Mode = mode
        self.asset = asset
        self.product_id = str(settings.product_id)
        self.takes_deposits = settings.product_id is not None
        self.plans = plans
        self.products: Mapping[str, str] = {
            plan.id: str(settings.products[plan.id]) for plan in plans if plan.id in settings.products
        }
        self.secrets = [one.get_secret_value() for one in settings.webhook_secrets]
        self.client = PolarAsync(
            settings.access_token.get_secret_value(),
            environment=settings.environment,
            base_url=settings.api_base,
            timeout=TIMEOUT_SECONDS,
        )

    async def close(self) -> None:
        await self.client.__aexit__(None, None, None)

    def verify(self, body: bytes, headers: Mapping[str, str]) -> tuple[str, str]:
        """Any of the secrets: two are set while one is being replaced."""
        if not any(is_signed(body, headers, secret) for secret in self.secrets):
            raise BadSignature("the webhook is none that Polar signed with our secret in the last 5 minutes")
        return signed.text(headers, "webhook-id"), signed.text(signed.object_of(body), "type")

    def read(self, body: bytes) -> Told:
        told = signed.object_of(body)
        return Told(signed.text(told, "type"), subject=signed.part(told, "data"))

    async def checkout(self, asked: Asked) -> Standing:
        """On a page whose price the buyer cannot change."""
        async with translated():
            page = await self.client.checkouts.create(
                products=[self.product_id],
                prices={
                    self.product_id: [
                        {
                            "amount_type": "fixed",
                            "price_amount": asked.amount_cents,
                            "price_currency": "usd",
                            "tax_behavior": "exclusive",
                        }
                    ]
                },
                currency="usd",
                allow_discount_codes=False,
                metadata={OUR_ID: str(asked.id)},
                success_url=asked.return_to,
            )
        return Standing(
            "open",
            asked.id,
            page.amount,
            page.currency,
            self.mode == "live",
            session_id=page.id,
            url=page.url,
        )

    async def offer(self, offered: Offered) -> tuple[str, str]:
        """Its metadata is copied to the subscription, which is found by it."""
        given: CheckoutCreate = {
            "products": [offered.product_id],
            "success_url": offered.success_url,
            "metadata": {
                ORGANIZATION: str(offered.organization_id),
                CREATED_BY: str(offered.created_by),
                "tier": offered.tier,
            },
        }
        if offered.email is not None:
            try:
                return await self.open_page({**given, "customer_email": offered.email})
            except ProcessorRefused:
                # It looks up an address's domain, and ours may have been confirmed inside a company. The
                # buyer types another one.
                log.info("polar.email_refused")
        return await self.open_page(given)

    async def open_page(self, given: CheckoutCreate) -> tuple[str, str]:
        async with translated():
            page = await self.client.checkouts.create(**given)
        return page.id, page.url

    async def portal(self, customer_id: str, return_to: str) -> str:
        async with translated():
            session = await self.client.customer_sessions.create(
                customer_id=customer_id, return_url=return_to
            )
        return session.customer_portal_url

    async def subscription(self, subscription_id: str) -> Subscribed:
        async with translated():
            return of_subscription(await self.client.subscriptions.get(subscription_id))

    async def revoke(self, subscription_id: str) -> Subscribed:
        # One that has ended, or has not begun, is refused, and need not be ended.
        found = await self.subscription(subscription_id)
        if found.status in ("canceled", "incomplete"):
            return found
        async with translated():
            return of_subscription(await self.client.subscriptions.revoke(subscription_id))

    async def order_standing(self, order_id: str) -> Standing:
        async with translated():
            return self.of_order(await self.client.orders.get(order_id))

    async def taken_since(self, since: datetime) -> list[Standing]:
        async with translated():
            begun = self.client.orders.iter_list(created_after=since.isoformat(), limit=PAGE)
            found = [self.of_order(one) async for one in begun]
        return [one for one in found if one.state == "paid" and one.our_id is not None]

    def of_order(self, order: Order) -> Standing:
        return Standing(
            state="paid" if order.paid else "canceled" if order.status == "void" else "open",
            our_id=uuid_in(order.metadata.get(OUR_ID)),
            amount_cents=order.net_amount,
            currency=order.currency,
            is_live=self.mode == "live",
            session_id=order.checkout_id,
            intent_id=order.id,
        )

    async def order_reversals(self, order_id: str) -> list[Reversal]:
        found: list[Reversal] = []
        async with translated():
            async for refund in self.client.refunds.iter_list(order_id=order_id, limit=PAGE):
                is_standing = refund.status in ("pending", "succeeded")
                found.append(Reversal(refund.id, "refund", refund.amount, is_standing))
            async for dispute in self.client.disputes.iter_list(order_id=order_id, limit=PAGE):
                if dispute.status in TAKING or dispute.status == "won":
                    is_standing = dispute.status in TAKING
                    found.append(Reversal(dispute.id, "dispute", dispute.amount, is_standing))
        return found


def of_subscription(told: Subscription) -> Subscribed:
    return Subscribed(
        id=told.id,
        organization_id=uuid_in(told.metadata.get(ORGANIZATION)),
        created_by=uuid_in(told.metadata.get(CREATED_BY)),
        customer_id=told.customer_id,
        product_id=told.product_id,
        status=STATUSES[told.status],
        current_period_end=datetime.fromisoformat(told.current_period_end),
        canceled_at=None if told.canceled_at is None else datetime.fromisoformat(told.canceled_at),
        modified_at=datetime.fromisoformat(told.modified_at or told.created_at),
    )


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    try:
        yield
    except PolarError as error:
        is_ours = isinstance(error, PolarClientError) and not isinstance(error, PolarRateLimitError)
        if is_ours and getattr(error, "status_code", None) in REFUSED:
            log.info("polar.refused", error=error.message)
            raise ProcessorRefused("Polar refused the request") from None
        log.warning("polar.failed", error=type(error).__name__, said=error.message)
        raise ProcessorUnavailable("Polar could not be asked; nothing was charged, try again") from None


def is_signed(body: bytes, headers: Mapping[str, str], secret: str) -> bool:
    """By Standard Webhooks, under the secret's own bytes, or under those that are in it in base64."""
    spelled = (base64.b64encode(secret.encode()).decode(), secret)
    return any(is_signed_under(body, headers, key) for key in spelled)


def is_signed_under(body: bytes, headers: Mapping[str, str], key: str) -> bool:
    try:
        Webhook(key).verify(body, dict(headers), json_parse=False)
    except (WebhookVerificationError, EmptyWebhookSecretError, ValueError, OverflowError):
        return False
    return True
