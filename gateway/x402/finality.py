"""Settled payments, looked at again until no reorganization of the chain can take them back.

What vanished is sent again: the authorization is as good as before, as long as it has not expired. What can
never settle any more is lost, which only a person can make good; it is marked, counted and logged.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from itertools import groupby
from typing import TypeAlias

import structlog

from gateway.metering import metrics
from gateway.x402 import payments, transactions
from gateway.x402.chain import Chain, NodeRefused, entry, number
from gateway.x402.facilitator import FacilitatorUnavailable, Settlement
from gateway.x402.receipts import Evidence
from gateway.x402.settlement import Settlements
from gateway.x402.transactions import Stored

log = structlog.get_logger(__name__)

BATCH = 100

Again: TypeAlias = Callable[[Stored], Awaitable[Settlement | None]]
"""Send what vanished again, and say what the chain knows of it then."""


async def recheck(settlements: Settlements, age: timedelta) -> int:
    """Look at settled payments that nobody has looked at for so long, a batch of them; return how many."""
    pool = settlements.pool
    taken = await payments.take_settled(pool, age, BATCH)
    stored = sorted(await transactions.of_payments(pool, taken), key=lambda one: one.network)
    for network, group in groupby(stored, key=lambda one: one.network):
        facilitator = settlements.facilitators.get(network)
        if facilitator is None:
            continue
        try:
            final, lost = await facilitator.recheck(list(group))
        except (FacilitatorUnavailable, NodeRefused) as error:
            log.warning("finality.unknown", network=network, reason=str(error))
            continue
        await payments.finalize(pool, [one.id for one in final])
        for one in lost:
            await payments.lose(pool, one.id)
            metrics.SETTLEMENTS.labels(network, "lost").inc()
            log.error("payment.lost", payment_id=str(one.id), transaction=one.hash_text)
    return len(taken)


async def look(
    chain: Chain, settled: Sequence[Stored], final_blocks: int, again: Again
) -> tuple[list[Stored], list[Stored]]:
    """Those that are final, and those that are lost. All others are there, or sent again."""
    height, *receipts = await chain.ask_all(
        ("eth_blockNumber", []),
        *(("eth_getTransactionReceipt", [one.hash_text]) for one in settled),
    )
    deep = number(height) - final_blocks + 1
    final, lost = [], []
    for one, answer in zip(settled, receipts, strict=True):
        receipt = entry(answer)
        if receipt is not None and Evidence(chain, one, 1).proves(receipt):
            if number(receipt["blockNumber"]) <= deep:
                final.append(one)
            continue
        metrics.SETTLEMENTS.labels(one.network, "vanished").inc()
        log.error("payment.vanished", payment_id=str(one.id), transaction=one.hash_text)
        found = await again(one)
        if found is not None and found.outcome == "failed":
            lost.append(one)
    return final, lost
