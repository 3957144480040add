"""Whether the keys that submit settlements can pay for them."""

import time
from collections.abc import Sequence

import structlog

from config.settings import Network
from gateway.x402 import undeployed
from gateway.x402.chain import Chain, number
from gateway.x402.facilitator import FacilitatorUnavailable
from gateway.x402.gas import FEES_SECONDS, GasPrices
from gateway.x402.signers import Signer

log = structlog.get_logger(__name__)


class GasMoney:
    """As of a few seconds ago: each transaction takes a little of it, and one that cannot pay is refused."""

    def __init__(self, chain: Chain, network: Network, signers: Sequence[Signer], gas: GasPrices) -> None:
        self.chain, self.network, self.signers, self.gas = chain, network, signers, gas
        self.known_until = 0.0

    def forget(self) -> None:
        self.known_until = 0.0

    async def check(self) -> None:
        """``FacilitatorUnavailable`` when none has any; those that have none sign nothing meanwhile."""
        if time.monotonic() < self.known_until:
            return
        balances = await self.chain.ask_all(
            *(("eth_getBalance", [signer.address, "latest"]) for signer in self.signers)
        )
        per_gas = (await self.gas.fees()).per_gas
        needed = undeployed.gas_limit(self.network) * per_gas
        for signer, answer in zip(self.signers, balances, strict=True):
            balance = number(answer)
            if signer.has_gas_money and balance < needed:
                log.error("facilitator.out_of_gas_money", network=self.network.id, signer=signer.address)
            signer.has_gas_money = balance >= needed
            signer.transfers_affordable = balance // max(self.network.gas_limit * per_gas, 1)
        if not any(signer.has_gas_money for signer in self.signers):
            raise FacilitatorUnavailable("the facilitator's account is out of gas money")
        self.known_until = time.monotonic() + FEES_SECONDS
