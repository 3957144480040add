"""What the settings and the publishers' rows offer to pay with and for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from eth_utils.address import to_checksum_address

from config.settings import Network
from control.payments.models import (
    PaymentRecord,
    PaymentStatus,
    Supported,
    SupportedAsset,
    SupportedExtra,
    SupportedKind,
)
from control.payments.store import Invoice
from control.processors.payments import Payment
from gateway.x402.signers import Signer

RESOURCES_MAX = 1000


def supported(networks: Sequence[Network]) -> Supported:
    signers = {to_checksum_address(Signer(key).address) for one in networks for key in one.keys}
    return Supported(
        kinds=[kind for network in networks for kind in kinds(network)],
        signers={"eip155:*": sorted(signers)} if signers else {},
    )


def kinds(network: Network) -> Iterator[SupportedKind]:
    extra = SupportedExtra(
        assets=[
            SupportedAsset(
                asset=one.address,
                symbol=one.symbol,
                name=one.name,
                version=one.version,
                decimals=one.decimals,
            )
            for one in network.assets
        ]
    )
    yield SupportedKind(x402Version=2, network=network.id, extra=extra)
    yield SupportedKind(x402Version=1, network=network.v1_name, extra=extra)


def resources(origin: str, publishers: Iterable[Mapping[str, Any]]) -> list[str]:
    """The URLs that cost something and can be asked for as they are."""
    found: dict[str, None] = {}
    for publisher in publishers:
        base = f"{origin}/publishers/{publisher['slug']}"
        for path in priced_paths(publisher):
            found[base + path] = None
    return list(found)[:RESOURCES_MAX]


def priced_paths(publisher: Mapping[str, Any]) -> Iterator[str]:
    prices = publisher["prices"]
    if publisher["is_database"]:
        if prices.get("base_price_per_1000_rows") or costs({"method": "POST"}, prices):
            yield ""
        return
    for endpoint in publisher["endpoints"] or []:
        # A path with a parameter is no URL until somebody fills it in.
        if not endpoint.get("is_protected") and "{" not in endpoint["path"] and costs(endpoint, prices):
            yield endpoint["path"] if endpoint["path"] != "/" else ""
    is_open = publisher["policy"] != "default_deny"
    if (
        not publisher["endpoints"]
        and is_open
        and any(costs({"method": one}, prices) for one in ("GET", "POST"))
    ):
        yield ""


def costs(endpoint: Mapping[str, Any], prices: Mapping[str, Any]) -> bool:
    """An endpoint's own price goes before its method's, and that before the one for any call."""
    own = endpoint.get("price")
    if own is not None:
        return any(digit in "123456789" for digit in own)
    for_method = prices.get(f"price_per_{endpoint['method'].lower()}")
    return bool(prices.get("price_per_call") if for_method is None else for_method)


def record(payment: Payment, *, is_reversed: bool = False) -> PaymentRecord:
    """A payment that came after the invoice was paid is a deposit; one that was refused can still be made.

    An earlier refusal of one that was paid would read as a failure of it, so it is left out.
    """
    is_paid = payment.paid_at is not None
    status: PaymentStatus = payment.state
    if is_reversed:
        status = "reversed"
    elif payment.booked_as == "deposit":
        status = "credited"
    elif payment.state == "open" and payment.failure_code is not None:
        status = "failed"
    return PaymentRecord(
        id=str(payment.id),
        source=payment.provider,
        stripe_payment_intent_id=payment.intent_id or "",
        stripe_charge_id=payment.charge_id,
        amount_usd=usd(payment.amount_cents),
        currency="usd",
        status=status,
        attempted_at=payment.created_at,
        succeeded_at=payment.paid_at,
        failed_at=None if is_paid else payment.failed_at,
        failure_code=None if is_paid else payment.failure_code,
        failure_message=None if is_paid else payment.failure_message,
    )


def otherwise_paid(invoice: Invoice) -> PaymentRecord:
    """From the wallet, say: there is one such payment, and it is the invoice's."""
    assert invoice.paid_at is not None, "it is paid"
    return PaymentRecord(
        id=str(invoice.due.id),
        source=invoice.paid_source or "bank",
        stripe_payment_intent_id=invoice.paid_reference or "",
        amount_usd=usd(invoice.due.total_cents),
        currency="usd",
        status="paid",
        attempted_at=invoice.paid_at,
        succeeded_at=invoice.paid_at,
    )


def usd(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"
