"""Stripe, by its own SDK. Imported by name, and only where a key is set: it brings much with it.

Each write carries an idempotency key made of our row's id, so that what is asked again after a crash is what
was made before. Parameters are made of the row alone, because Stripe refuses the same key with others.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import aiohttp
import stripe
import structlog
from stripe import StripeClient

from config.card_payments import Stripe
from control.processors import signed
from control.processors.port import (
    OUR_ID,
    Asked,
    BadSignature,
    Card,
    ProcessorRefused,
    ProcessorUnavailable,
    Provider,
    Reversal,
    Standing,
    Told,
)
from control.processors.stripe_objects import (
    id_of,
    is_taking,
    of_dispute,
    of_intent,
    of_method,
    of_refund,
    of_session,
)
from gateway.types import Asset, Mode

TIMEOUT = aiohttp.ClientTimeout(total=20, connect=5)
TOLERANCE_SECONDS = 300
RETRIES = 2

log = structlog.get_logger(__name__)


class StripeApi:
    provider: Provider = "stripe"
    takes_deposits = True

    def __init__(self, settings: Stripe, mode: Mode, asset: Asset) -> None:
        assert settings.secret_key is not None, "without a key nobody asks Stripe"
        self.mode: Mode = mode
        self.asset = asset
        self.publishable_key = settings.publishable_key
        self.secrets = [one.get_secret_value() for one in settings.webhook_secrets]
        # Its own connections, on this loop: the SDK's synchronous client would block it.
        self.http = stripe.AIOHTTPClient(timeout=TIMEOUT)
        self.client = StripeClient(
            settings.secret_key.get_secret_value(),
            http_client=self.http,
            max_network_retries=RETRIES,
            base_addresses={"api": settings.api_base} if settings.api_base else None,
        )

    async def close(self) -> None:
        await self.http.close_async()  # type: ignore[no-untyped-call]

    def verify(self, body: bytes, headers: Mapping[str, str]) -> tuple[str, str]:
        """Any of the secrets: two are set while one is being replaced."""
        header = headers.get("Stripe-Signature", "")
        if not any(is_signed(body, header, secret) for secret in self.secrets):
            raise BadSignature(
                "Stripe-Signature is none that Stripe made with our secret in the last 5 minutes"
            )
        told = signed.object_of(body)
        return signed.text(told, "id"), signed.text(told, "type")

    def read(self, body: bytes) -> Told:
        told = signed.object_of(body)
        found = signed.part(signed.part(told, "data"), "object")
        account, is_live = told.get("account"), told.get("livemode")
        return Told(
            signed.text(told, "type"),
            is_live if isinstance(is_live, bool) else None,
            account if isinstance(account, str) else None,
            found,
        )

    async def checkout(self, asked: Asked) -> Standing:
        async with translated():
            session = await self.client.v1.checkout.sessions.create_async(
                {
                    "mode": "payment",
                    "line_items": [
                        {
                            "quantity": 1,
                            "price_data": {
                                "currency": "usd",
                                "unit_amount": asked.amount_cents,
                                "product_data": {"name": asked.description},
                            },
                        }
                    ],
                    "client_reference_id": str(asked.id),
                    "metadata": {OUR_ID: str(asked.id)},
                    "payment_intent_data": {
                        "description": asked.description,
                        "metadata": {OUR_ID: str(asked.id)},
                    },
                    "success_url": asked.return_to,
                    "cancel_url": asked.return_to,
                },
                {"idempotency_key": f"farebox-checkout-{asked.id}"},
            )
        return of_session(session)

    async def checkout_standing(self, session_id: str) -> Standing:
        async with translated():
            session = await self.client.v1.checkout.sessions.retrieve_async(
                session_id, {"expand": ["payment_intent"]}
            )
        return of_session(session)

    async def intent(self, asked: Asked) -> Standing:
        async with translated():
            intent = await self.client.v1.payment_intents.create_async(
                {
                    "amount": asked.amount_cents,
                    "currency": "usd",
                    "description": asked.description,
                    "automatic_payment_methods": {"enabled": True},
                    "metadata": {OUR_ID: str(asked.id)},
                },
                {"idempotency_key": f"farebox-intent-{asked.id}"},
            )
        return of_intent(intent)

    async def intent_standing(self, intent_id: str) -> Standing:
        async with translated():
            return of_intent(await self.client.v1.payment_intents.retrieve_async(intent_id))

    async def taken_since(self, since: datetime) -> list[Standing]:
        async with translated():
            begun = await self.client.v1.payment_intents.list_async(
                {"created": {"gte": int(since.timestamp())}, "limit": 100}
            )
            found = [of_intent(one) async for one in begun.auto_paging_iter()]
        return [one for one in found if one.state == "paid" and one.our_id is not None]

    async def cancel(self, intent_id: str) -> Standing:
        """What was paid meanwhile stays paid."""
        try:
            async with translated():
                return of_intent(await self.client.v1.payment_intents.cancel_async(intent_id))
        except ProcessorRefused:
            return await self.intent_standing(intent_id)

    async def reversals(self, intent_id: str) -> list[Reversal]:
        found: list[Reversal] = []
        async with translated():
            refunds = await self.client.v1.refunds.list_async({"payment_intent": intent_id, "limit": 100})
            found += [of_refund(one) async for one in refunds.auto_paging_iter()]
            disputes = await self.client.v1.disputes.list_async({"payment_intent": intent_id, "limit": 100})
            found += [of_dispute(one) async for one in disputes.auto_paging_iter() if is_taking(one)]
        return found

    async def taken_back_since(self, since: datetime) -> list[tuple[str, Reversal]]:
        found: list[tuple[str, Reversal]] = []
        seconds = int(since.timestamp())
        async with translated():
            refunds = await self.client.v1.refunds.list_async({"created": {"gte": seconds}, "limit": 100})
            async for refund in refunds.auto_paging_iter():
                found.append((id_of(refund.payment_intent) or "", of_refund(refund)))
            disputes = await self.client.v1.disputes.list_async({"created": {"gte": seconds}, "limit": 100})
            async for dispute in disputes.auto_paging_iter():
                if is_taking(dispute):
                    found.append((id_of(dispute.payment_intent) or "", of_dispute(dispute)))
        return found

    async def customer(self, organization_id: UUID) -> str:
        async with translated():
            customer = await self.client.v1.customers.create_async(
                {"metadata": {"farebox_organization_id": str(organization_id)}},
                {"idempotency_key": f"farebox-customer-{organization_id}"},
            )
        return customer.id

    async def setup(self, customer_id: str) -> tuple[str, str]:
        """A setup intent and its secret, with which the client's browser gives Stripe the card."""
        async with translated():
            made = await self.client.v1.setup_intents.create_async(
                {
                    "customer": customer_id,
                    "usage": "off_session",
                    "automatic_payment_methods": {"enabled": True},
                }
            )
        assert made.client_secret is not None, "a setup intent that was just made has its secret"
        return made.id, made.client_secret

    async def attach(self, card_id: str, customer_id: str) -> Card:
        async with translated():
            return of_method(
                await self.client.v1.payment_methods.attach_async(card_id, {"customer": customer_id})
            )

    async def detach(self, card_id: str) -> None:
        try:
            async with translated():
                await self.client.v1.payment_methods.detach_async(card_id)
        except ProcessorRefused:
            # It is not attached: what was to be done is done.
            return

    async def card(self, card_id: str) -> Card | None:
        try:
            async with translated():
                return of_method(await self.client.v1.payment_methods.retrieve_async(card_id))
        except ProcessorRefused:
            return None


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Say whose turn it is: the caller's, or the operator's and Stripe's, which is logged."""
    try:
        yield
    except (stripe.CardError, stripe.InvalidRequestError) as error:
        # Idempotency errors are not among them: those would be a bug of ours.
        log.info("stripe.refused", code=error.code, request_id=error.request_id)
        raise ProcessorRefused(error.user_message or "Stripe refused the request") from None
    except (stripe.StripeError, aiohttp.ClientError, TimeoutError) as error:
        request_id = getattr(error, "request_id", None)
        log.warning("stripe.failed", error=type(error).__name__, said=str(error), request_id=request_id)
        raise ProcessorUnavailable("Stripe could not be asked; nothing was charged, try again") from None


def is_signed(body: bytes, header: str, secret: str) -> bool:
    try:
        return bool(stripe.WebhookSignature.verify_header(body, header, secret, TOLERANCE_SECONDS))
    except (stripe.SignatureVerificationError, ValueError):
        return False
