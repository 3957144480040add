from uuid import UUID

from control.api.operation import Call, Room
from control.api.paging import Data
from control.payment_methods.models import (
    AddPaymentMethodRequest,
    PaymentMethod,
    PaymentMethodAdded,
    SetupIntent,
)
from control.processors import methods
from control.processors.methods import Method
from control.processors.port import (
    CardPaymentsNotConfigured,
    ProcessorRefused,
    ProcessorUnavailable,
)
from gateway.kit.problem import NotFound, invalid

room = Room("payment_methods", "/billing/payment-methods")

STRIPE_FAILS = (CardPaymentsNotConfigured, ProcessorUnavailable, ProcessorRefused)


@room.get(access="billing.read", id="list_payment_methods")
async def index(call: Call) -> Data[list[PaymentMethod]]:
    """List your organization's cards, the default one first.

    Those of live money for a live key, those of test money for a test key.
    """
    found = await methods.index(call.db, call.actor.organization_id, call.actor.mode)
    return Data(data=[shown(one) for one in found])


@room.post(
    "/setup-intents",
    access="billing.write",
    fails=STRIPE_FAILS,
    is_transaction=False,
    id="create_setup_intent",
)
async def setup(call: Call) -> Data[SetupIntent]:
    """Begin to add a card.

    With the secret, Stripe's script in the browser takes the card and makes a payment method of it, pm_…,
    which `POST /billing/payment-methods` adds. The number goes from the browser to Stripe alone.
    """
    cards = call.ports.processors.cards(call.actor.mode)
    customer_id = await methods.customer(call.db, cards, call.actor.organization_id)
    intent_id, secret = await cards.setup(customer_id)
    return Data(data=SetupIntent(id=intent_id, client_secret=secret, publishable_key=cards.publishable_key))


@room.post(access="billing.write", fails=STRIPE_FAILS, is_transaction=False, id="add_payment_method")
async def add(call: Call, *, body: AddPaymentMethodRequest) -> Data[PaymentMethodAdded]:
    """Add a card that Stripe has taken in the browser.

    The first card is the default one. Adding it twice is adding it once.
    """
    cards = call.ports.processors.cards(call.actor.mode)
    organization_id = call.actor.organization_id
    customer_id = await methods.customer(call.db, cards, organization_id)
    card = await cards.card(body.stripe_payment_method_id)
    if card is None or card.customer_id not in (None, customer_id):
        raise invalid("body/stripe_payment_method_id", "is no payment method that could be yours")
    if card.customer_id is None:
        card = await cards.attach(card.id, customer_id)
    async with call.transaction() as db:
        method_id = await methods.keep(
            db, organization_id, cards.provider, cards.mode, card, is_default=body.set_as_default
        )
        if method_id is None:
            raise invalid("body/stripe_payment_method_id", "is no payment method that could be yours")
        call.about(method_id)
    return Data(data=PaymentMethodAdded(id=method_id, message="Payment method added"))


@room.delete("/{id}", access="billing.write", fails=[NotFound], id="delete_payment_method")
async def delete(call: Call, id: UUID) -> None:
    """Remove a card.

    If it was the default one, the oldest of the others is. Stripe forgets it within a minute.
    """
    call.about(id)
    if not await methods.remove(call.db, id, call.actor.organization_id, call.actor.mode):
        raise NotFound(f"no payment method {id}")


def shown(method: Method) -> PaymentMethod:
    is_card = method.type == "card"
    return PaymentMethod(
        id=method.id,
        type_=method.type,
        card_brand=method.brand,
        card_last4=method.last4 if is_card else None,
        card_exp_month=method.exp_month,
        card_exp_year=method.exp_year,
        bank_last4=None if is_card else method.last4,
        is_default=method.is_default,
    )
