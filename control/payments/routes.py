from uuid import UUID

from asyncpg.pool import Pool as AnyPool

from control.api.access import Actor, Forbidden
from control.api.operation import Call, Room
from control.api.paging import Data
from control.invoicing import paying
from control.payments import rules, store
from control.payments.models import (
    PaymentHistory,
    PaymentIntentCreated,
    PaymentRecord,
    Resources,
    Supported,
)
from control.processors import invoices, payments
from control.processors.invoices import InvoiceNotPayable
from control.processors.port import (
    CardPaymentsNotConfigured,
    ProcessorRefused,
    ProcessorUnavailable,
)
from gateway.kit.problem import NotFound, Refusal
from gateway.kit.sql import Db
from gateway.ledger.moves import Short

room = Room("payments", "/payments")


class BalanceTooLow(Refusal):
    status, slug, title = 402, "balance-too-low", "The wallet has too little"


@room.get("/supported", access=None, id="get_supported")
async def supported(call: Call) -> Supported:
    """List the kinds of x402 payment that are taken here, in both versions of the protocol."""
    return rules.supported(call.ports.settings.networks)


@room.get(at="/facilitator/supported", access=None, id="facilitator_supported")
async def facilitator_supported(call: Call) -> Supported:
    """List the kinds of payment that `/facilitator/verify` and `/facilitator/settle` know."""
    return rules.supported(call.ports.settings.networks)


@room.get(at="/.well-known/x402", access=None, id="x402_resources")
async def resources(call: Call) -> Resources:
    """List what can be bought here by x402, for crawlers.

    Endpoints with a parameter in their path are in the catalog only.
    """
    origin = call.ports.origin
    found = rules.resources(origin, await store.on_sale(call.db))
    return Resources(resources=found, catalog=f"{origin}/publishers")


@room.post(
    at="/billing/invoices/{id}/pay",
    access="billing.write",
    fails=[
        NotFound, InvoiceNotPayable, CardPaymentsNotConfigured, ProcessorUnavailable, ProcessorRefused,
    ],
    is_transaction=False,
    id="create_payment_intent",
)  # fmt: skip
async def pay(call: Call, id: UUID) -> Data[PaymentIntentCreated]:
    """Begin to pay an issued invoice by card.

    With the secret, Stripe's script in the browser takes the payment; the invoice is paid once Stripe has
    told us so. Asked again, it is the same payment, so that an invoice is not paid twice.
    """
    call.about(id)
    cards = call.ports.processors.cards(call.actor.mode)
    async with call.transaction() as db:
        found = (await due(db, call.actor, id)).due
        payment = await invoices.begin(db, cards, found, call.actor.user_id)
    assert isinstance(call.db, AnyPool), "it is not one transaction"
    standing = await invoices.opened(call.db, cards, payment, f"{call.ports.origin}/")
    assert standing.intent_id is not None, "it is an intent"
    assert standing.client_secret is not None, "an intent that is open has its secret"
    answer = PaymentIntentCreated(
        payment_intent_id=standing.intent_id,
        client_secret=standing.client_secret,
        amount_cents=payment.amount_cents,
        amount_usd=rules.usd(payment.amount_cents),
        currency=standing.currency,
    )
    return Data(data=answer)


@room.post(
    at="/billing/invoices/{id}/pay/wallet",
    access="billing.write",
    fails=[
        NotFound, InvoiceNotPayable, BalanceTooLow, ProcessorUnavailable, ProcessorRefused,
    ],
    is_transaction=False,
    id="pay_invoice_from_wallet",
)  # fmt: skip
async def pay_from_wallet(call: Call, id: UUID) -> Data[PaymentRecord]:
    """Pay an issued invoice from your organization's balance, now.

    A payment by card that was begun for it is ended. What was given to you to spend on calls pays no
    invoices, and neither does a key whose spending is limited.
    """
    call.about(id)
    if call.actor.is_capped:
        raise Forbidden("a key with spend caps pays no invoices")
    found = (await due(call.db, call.actor, id)).due
    if found.status != "issued":
        raise InvoiceNotPayable(f"it is {found.status}; only an issued invoice is paid")
    assert isinstance(call.db, AnyPool), "it is not one transaction"
    known = call.ports.processors.stripe
    cards = known if known is not None and known.mode == call.actor.mode else None
    await invoices.give_up(call.db, cards, id)
    async with call.transaction() as db:
        try:
            is_paid = await paying.mark_paid(db, id, found.total_cents, "wallet", str(call.actor.user_id))
        except Short:
            raise BalanceTooLow(f"{rules.usd(found.total_cents)} are due; deposit first") from None
        if not is_paid:
            raise InvoiceNotPayable("it was paid or voided in this moment")
    return Data(data=rules.otherwise_paid(await due(call.db, call.actor, id)))


@room.get(
    at="/billing/invoices/{id}/payments", access="billing.read", fails=[NotFound], id="get_payment_history"
)
async def history(call: Call, id: UUID) -> Data[PaymentHistory]:
    """List how an invoice was paid, and what was tried, oldest first."""
    found = await due(call.db, call.actor, id)
    back = await store.taken_back(call.db, id)
    made = await payments.of_invoice(call.db, id, found.due.organization_id)
    records = [rules.record(one, is_reversed=one.id in back) for one in made]
    if found.due.status == "paid" and found.paid_source not in ("stripe", "polar"):
        records.append(rules.otherwise_paid(found))
    return Data(data=PaymentHistory(payments=records))


async def due(db: Db, actor: Actor, invoice_id: UUID) -> store.Invoice:
    found = await store.invoice(db, invoice_id, actor.organization_id, actor.mode)
    if found is None:
        raise NotFound(f"no invoice {invoice_id}")
    return found
