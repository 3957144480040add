"""A network with one asset on the demonstration chain, and everybody who deals in it."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from eth_account import Account
from eth_account.signers.local import LocalAccount
from pydantic import SecretStr

from config.settings import Network
from control.agent import wallet
from control.demo import token as demo_token
from control.demo.chain import Chain
from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import accounts
from gateway.types import Asset
from gateway.x402 import payments, token
from gateway.x402.facilitator import Authorization
from gateway.x402.local import LocalFacilitator
from gateway.x402.payments import Claim

PRICE = 250_000
PAY_TO = "0x" + "b0" * 20

Open = Callable[..., Awaitable[LocalFacilitator]]


@dataclass(frozen=True)
class Shop:
    """A network whose one asset is the test token, and everybody who deals in it."""

    chain: Chain
    pool: Pool
    network: Network
    asset: Asset
    credit_id: UUID
    payer: LocalAccount

    def sign(
        self, amount: int = PRICE, payer: LocalAccount | None = None, seconds: int = 60
    ) -> Authorization:
        terms = {
            "network": self.network.id,
            "amount": str(amount),
            "asset": self.asset.address,
            "payTo": PAY_TO,
            "maxTimeoutSeconds": seconds,
            "extra": {"name": self.asset.name, "version": self.asset.version},
        }
        signed = wallet.sign_payment((payer or self.payer).key, terms, int(time.time()))
        one = signed["authorization"]
        return Authorization(
            self.asset, one["from"].lower(), PAY_TO, amount, int(one["validAfter"]), int(one["validBefore"]),
            bytes.fromhex(one["nonce"][2:]), bytes.fromhex(signed["signature"][2:]),
        )  # fmt: skip

    async def claim(self, authorization: Authorization) -> UUID:
        payment_id = ids.new()
        claim = Claim(
            payment_id,
            "call",
            authorization,
            request_digest=bytes(32),
            credit_id=self.credit_id,
            is_owed=True,
            fee=0,
        )
        assert await payments.claim(self.pool, claim)
        return payment_id

    async def paid(self) -> int:
        return await self.chain.balance(self.asset.address, PAY_TO)

    async def time_passes(self) -> None:
        """What was sent has waited for an hour, and what is sent from now on has not waited at all."""
        await self.pool.execute("UPDATE chain_transactions SET created_at = created_at - interval '1 hour'")

    async def send_directly(self, authorization: Authorization) -> None:
        """As somebody would who saw the authorization on its way."""
        data = token.transfer_with_authorization(authorization)
        await self.chain.transact(self.asset.address, data)


async def opened(chain: Chain, pool: Pool, address: str) -> Shop:
    """A shop that takes the token at this address; its payer can afford a hundred things."""
    signer, payer = Account.create(), Account.create()
    await chain.fund(signer.address)
    await chain.mint(address, payer.address, 100 * PRICE)
    described = {
        "address": address, "symbol": demo_token.SYMBOL, "decimals": demo_token.DECIMALS,
        "name": demo_token.NAME, "version": demo_token.VERSION,
    }  # fmt: skip
    network = Network.model_validate(
        {
            "id": chain.network,
            "rpc_url": chain.rpc_url,
            "facilitator_key": "0x" + bytes(signer.key).hex(),
            "assets": [described],
        }
    )
    [asset] = accounts.of_networks([network]).values()
    await accounts.publish_assets(pool, [network])
    credit_id = await accounts.ensure(pool, accounts.PLATFORM, asset.id, "earnings")
    return Shop(chain, pool, network, asset, credit_id, payer)


def as_secret(account: LocalAccount) -> SecretStr:
    return SecretStr("0x" + bytes(account.key).hex())
