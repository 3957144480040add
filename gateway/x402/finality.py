"""Settled payments, looked at again until no reorganization of the chain can take them back.

What vanished is sent again: the authorization is as good as before, as long as it has not expired. What can
never settle any more is lost, which only a person can make good; it is marked, counted and logged.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any, TypeAlias

import structlog

from gateway.metering import metrics
from gateway.x402 import payments, token, transactions
from gateway.x402.chain import Chain, NodeRefused, entry, number
from gateway.x402.facilitator import FacilitatorUnavailable, Settlement
from gateway.x402.settlement import Settlements
from gateway.x402.transactions import Stored

log = structlog.get_logger(__name__)

BATCH = 500
# A slow node has its time for each so many.
ASKED_AT_ONCE = 100

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


class Mined:
    """A transaction on the chain, read once for all the payments that are in it."""

    def __init__(self, receipt: Mapping[str, Any]) -> None:
        self.proofs = token.Proofs(receipt)
        self.block = receipt.get("blockNumber")

    @property
    def height(self) -> int:
        return number(self.block)

    def proves(self, one: Stored) -> bool:
        return self.proofs.are_of(one.asset, one.payer, one.pay_to, one.amount, one.nonce)


async def look(
    chain: Chain, settled: Sequence[Stored], final_blocks: int, again: Again
) -> tuple[list[Stored], list[Stored]]:
    """Those that are final, and those that are lost. All others are there, or sent again."""
    height = number(await chain.ask("eth_blockNumber"))
    mined = await receipts(chain, list(dict.fromkeys([one.hash_text for one in settled])))
    final, lost = [], []
    for one in settled:
        transaction = mined.get(one.hash_text)
        if transaction is not None and transaction.proves(one):
            if transaction.height <= height - final_blocks + 1:
                final.append(one)
            continue
        metrics.SETTLEMENTS.labels(one.network, "vanished").inc()
        log.error("payment.vanished", payment_id=str(one.id), transaction=one.hash_text)
        found = await again(one)
        if found is not None and found.outcome == "failed":
            lost.append(one)
    return final, lost


async def receipts(chain: Chain, hashes: Sequence[str]) -> dict[str, Mined]:
    """Of those that are mined."""
    mined = {}
    for start in range(0, len(hashes), ASKED_AT_ONCE):
        some = hashes[start : start + ASKED_AT_ONCE]
        answers = await chain.ask_all(*(("eth_getTransactionReceipt", [one]) for one in some))
        for name, one in zip(some, answers, strict=True):
            if (receipt := entry(one)) is not None:
                mined[name] = Mined(receipt)
    return mined
