"""What is said of a call that an upstream answered: a line in the log, and its place in the metrics."""

import structlog

from gateway.kit.money import to_text
from gateway.metering import metrics
from gateway.types import Head, Inbound, Receipt

LABELS = metrics.PublisherLabels()

log = structlog.get_logger(__name__)


def observe(inbound: Inbound, head: Head, receipt: Receipt | None) -> None:
    """``receipt`` is None for an answer that was not charged. Never a secret, a query or a payment."""
    rail = "none" if receipt is None else receipt.rail
    metrics.CALLS.labels(LABELS.of(inbound.slug), rail, f"{head.status // 100}xx").inc()
    money = "0"
    if receipt is not None and receipt.cost is None:
        money = "metered"
    elif receipt is not None and receipt.asset is not None and receipt.cost is not None:
        metrics.CHARGED.labels(receipt.asset.symbol, receipt.rail).inc(receipt.cost)
        money = f"{to_text(receipt.cost, receipt.asset.decimals)} {receipt.asset.symbol}"
    log.info(
        "call.answered",
        publisher=inbound.slug,
        method=inbound.method,
        path=inbound.path,
        status=head.status,
        rail=rail,
        charged=money,
    )
