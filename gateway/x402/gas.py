"""What a network's transactions offer for gas."""

import time
from dataclasses import dataclass

from gateway.x402.chain import Chain, NodeRefused, entry, number
from gateway.x402.facilitator import FacilitatorUnavailable

FEES_SECONDS = 5
FEES_STALE_SECONDS = 60
# A transaction that waits for a lower base fee holds up every later one of its signer. What is paid is its
# block's fee, so a generous offer costs nothing: the base fee may rise by an eighth with each block.
BASE_FEE_MULTIPLE = 4
TIP_WEI = 1_000_000


@dataclass(frozen=True, slots=True)
class Fees:
    """``tip`` is None on a chain that has no base fee."""

    per_gas: int
    tip: int | None
    known_at: float

    def above(self, per_gas: int, tip: int | None) -> "Fees":
        """These, or as much more as nodes want before they let a transaction replace its like."""
        raised = None if self.tip is None else max(self.tip, more(tip or 0))
        return Fees(max(self.per_gas, more(per_gas)), raised, self.known_at)


def more(wei: int) -> int:
    """Nodes ask for a tenth more; an eighth leaves no doubt about rounding."""
    return wei * 9 // 8 + 1


class GasPrices:
    """As of a few seconds ago, or of a minute ago while the node does not say."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.known: Fees | None = None

    async def fees(self) -> Fees:
        fees = self.known
        if fees is not None and time.monotonic() < fees.known_at + FEES_SECONDS:
            return fees
        try:
            self.known = await self.ask()
        except FacilitatorUnavailable:
            if fees is None or time.monotonic() > fees.known_at + FEES_STALE_SECONDS:
                raise
            return fees
        return self.known

    async def ask(self) -> Fees:
        block, price, tip = await self.chain.ask_all(
            ("eth_getBlockByNumber", ["latest", False]),
            ("eth_gasPrice", []),
            ("eth_maxPriorityFeePerGas", []),
        )
        now = time.monotonic()
        base_fee = (entry(block) or {}).get("baseFeePerGas")
        if base_fee is None:
            return Fees(number(price) * 5 // 4, None, now)
        # Not every node advises on the tip.
        offered = number(price) - number(base_fee) if isinstance(tip, NodeRefused) else number(tip)
        tip_wei = max(offered, TIP_WEI)
        return Fees(number(base_fee) * BASE_FEE_MULTIPLE + tip_wei, tip_wei, now)
