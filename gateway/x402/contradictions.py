"""The settings compared with the chain.

A transaction for another chain is lost money, and a wrong EIP-712 domain refuses every payment.
"""

from collections.abc import Sequence

from config.settings import Network
from gateway.types import Asset
from gateway.x402 import exact, token
from gateway.x402.chain import Chain, call, number, text
from gateway.x402.facilitator import ChainMismatch


async def compare(chain: Chain, network: Network, assets: Sequence[Asset]) -> None:
    """``ChainMismatch`` when they contradict each other, in a sentence for the operator."""
    [chain_id] = await chain.ask_all(("eth_chainId", []))
    if number(chain_id) != network.chain_id:
        raise ChainMismatch(
            f"the RPC URL of {network.id} belongs to another chain, eip155:{number(chain_id)}"
        )
    for asset in assets:
        code, domain = await chain.ask_all(
            ("eth_getCode", [asset.address, "latest"]), call(asset.address, token.DOMAIN_SEPARATOR)
        )
        if text(code) == "0x":
            raise ChainMismatch(
                f"there is no contract at {asset.address} ({asset.symbol} on {asset.network})"
            )
        if domain != "0x" + exact.domain_separator(asset).hex():
            raise ChainMismatch(
                f"{asset.symbol} at {asset.address} on {asset.network} has another EIP-712 domain than"
                f" the name {asset.name!r} and version {asset.version!r} of the settings"
            )
