"""Settle payments on a chain with our own key: the facilitator of a network that has an RPC URL.

The order that a crash cannot break: a signed transaction and its nonce are committed, then it is sent, then
its outcome is asked for. Whoever asks later, in whatever process, sends it again if the node lost it.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from eth_account import Account
from eth_account.signers.local import LocalAccount

from config.settings import Network
from gateway.kit.sql import Pool
from gateway.ledger import accounts
from gateway.x402 import exact, payments, token, transactions
from gateway.x402.chain import Chain, NodeRefused, call, entry, is_true, number, text
from gateway.x402.facilitator import (
    Authorization,
    FacilitatorUnavailable,
    PaymentInvalid,
    PaymentNotClaimed,
    Settlement,
)
from gateway.x402.receipts import Watch

log = structlog.get_logger(__name__)

FEES_SECONDS = 5
FEES_STALE_SECONDS = 60
RETRY_SECONDS = 1
POLL_SECONDS_MIN = 0.02
POLL_SECONDS_MAX = 1.0
# A transaction that waits for a lower base fee holds up every later one of its signer. What is paid is its
# block's fee, so a generous offer costs nothing: the base fee may rise by an eighth with each block.
BASE_FEE_MULTIPLE = 4
TIP_WEI = 1_000_000


class ChainMismatch(FacilitatorUnavailable):
    """The chain is not the one that the settings describe: somebody has to change them."""


@dataclass(frozen=True, slots=True)
class Fees:
    """What transactions offer for gas now; ``tip`` is None on a chain that has no base fee."""

    per_gas: int
    tip: int | None
    known_at: float


class LocalFacilitator:
    """One network's, in this process; see ``Facilitator``."""

    def __init__(self, pool: Pool, network: Network) -> None:
        self.pool = pool
        self.network = network
        self.chain = Chain(network.rpc_url)
        self.account: LocalAccount = Account.from_key(network.facilitator_key.get_secret_value())
        self.assets = tuple(accounts.of_networks([network]).values())
        self.is_ready = False
        self.retry_at = 0.0
        self.trouble = FacilitatorUnavailable("the chain was not asked yet")
        self.preparing = asyncio.Lock()
        self.signing = asyncio.Lock()
        self.known_fees: Fees | None = None

    @property
    def signer(self) -> str:
        return self.account.address.lower()

    async def start(self) -> None:
        """Compare the settings with the chain; ``ChainMismatch`` when they contradict each other.

        A node that is down is no error here: the gateway has other work, and the comparison is made before
        the first payment.
        """
        try:
            await self.prepare()
        except ChainMismatch:
            raise
        except FacilitatorUnavailable as error:
            log.warning("facilitator.unavailable", network=self.network.id, reason=str(error))

    async def close(self) -> None:
        await self.chain.close()

    async def check(self, authorization: Authorization) -> None:
        await self.prepare()
        fees = await self.fees()
        asset = authorization.asset.address
        # With the gas that the transaction will have, so that too little shows here.
        data = token.transfer_with_authorization(authorization)
        transfer = call(asset, data, sender=self.signer, gas=hex(self.network.gas_limit))
        state = call(asset, token.authorization_state(authorization.payer, authorization.nonce))
        code, used, gas_money, simulated = await self.chain.ask_all(
            ("eth_getCode", [authorization.payer, "latest"]),
            state,
            ("eth_getBalance", [self.signer, "latest"]),
            transfer,
        )
        if text(code) != "0x":
            raise PaymentInvalid(
                "unsupported_payer", "contract wallets cannot pay here yet: use a plain account"
            )
        if is_true(used):
            raise PaymentInvalid("invalid_exact_evm_nonce_already_used", "the authorization was used before")
        if number(gas_money) < self.network.gas_limit * fees.per_gas:
            log.error("facilitator.out_of_gas_money", network=self.network.id, signer=self.signer)
            raise FacilitatorUnavailable("the facilitator's account is out of gas money")
        if isinstance(simulated, NodeRefused):
            raise await self.explain(authorization, simulated)

    async def explain(self, authorization: Authorization, simulated: NodeRefused) -> Exception:
        """Why the transfer would not succeed, or that the node could not say."""
        if not simulated.is_execution:
            return FacilitatorUnavailable(f"the node did not simulate the transfer: {simulated}")
        [balance] = await self.chain.ask_all(
            call(authorization.asset.address, token.balance_of(authorization.payer))
        )
        if number(balance) < authorization.amount:
            return PaymentInvalid("insufficient_funds", "the payer has less of the asset than the price")
        return PaymentInvalid(
            "invalid_exact_evm_transaction_simulation_failed",
            f"the transfer would not succeed: {simulated!s:.200}",
        )

    async def submit(self, payment_id: UUID, authorization: Authorization, usage: dict[str, Any]) -> None:
        await self.prepare()
        raw = await self.store(payment_id, authorization, usage)
        try:
            await self.send(raw)
        except (NodeRefused, FacilitatorUnavailable) as error:
            # Stored is as good as sent: whoever asks for the outcome sends it again.
            log.warning("transaction.not_sent", payment_id=str(payment_id), reason=str(error))

    async def send(self, raw: bytes) -> None:
        try:
            await self.chain.ask("eth_sendRawTransaction", "0x" + raw.hex())
        except NodeRefused as error:
            if error.says("nonce too low"):
                await self.catch_up()
            raise

    async def store(self, payment_id: UUID, authorization: Authorization, usage: dict[str, Any]) -> bytes:
        """Sign the transfer and commit it with the payment's new state; return what there is to send."""
        fees = await self.fees()
        # Others of this process wait here rather than in the database, each with a connection in its hands.
        async with self.signing, self.pool.acquire() as connection, connection.transaction():
            if not await payments.submit(connection, payment_id, usage):
                raise PaymentNotClaimed(f"payment {payment_id} is not claimed any more")
            nonce = await transactions.take_nonce(connection, self.network.id, self.signer)
            signed = self.account.sign_transaction(self.transaction(authorization, nonce, fees))
            raw = bytes(signed.raw_transaction)
            await transactions.store(
                connection, bytes(signed.hash), payment_id, self.network.id, self.signer, nonce, raw
            )
        return raw

    def transaction(self, authorization: Authorization, nonce: int, fees: Fees) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "chainId": self.network.chain_id,
            "nonce": nonce,
            "to": bytes.fromhex(authorization.asset.address[2:]),
            "data": token.transfer_with_authorization(authorization),
            "value": 0,
            "gas": self.network.gas_limit,
        }
        if fees.tip is None:
            return {**fields, "gasPrice": fees.per_gas}
        return {**fields, "type": 2, "maxFeePerGas": fees.per_gas, "maxPriorityFeePerGas": fees.tip}

    async def outcome(self, payment_id: UUID, wait_seconds: float) -> Settlement:
        stored = await transactions.of_payment(self.pool, payment_id)
        if stored is None:
            raise LookupError(f"payment {payment_id} has no transaction to ask about")
        if stored.state == "settled" or stored.state == "failed":
            return Settlement(stored.state, stored.hash_text, stored.failure)
        watch = Watch(self.chain, self.pool, stored, self.network.confirmations)
        deadline = time.monotonic() + wait_seconds
        pause = POLL_SECONDS_MIN
        while True:
            settlement = await self.look(watch)
            remaining = deadline - time.monotonic()
            if settlement is not None:
                return settlement
            if remaining <= 0:
                return Settlement("pending", stored.hash_text)
            await asyncio.sleep(min(pause, remaining))
            pause = min(pause * 1.5, POLL_SECONDS_MAX)

    async def look(self, watch: Watch) -> Settlement | None:
        try:
            await self.prepare()
            return await watch.look()
        except (FacilitatorUnavailable, NodeRefused) as error:
            log.warning("outcome.unknown", transaction=watch.stored.hash_text, reason=str(error))
            return None

    async def prepare(self) -> None:
        """Compare the settings with the chain, once; again only after a failure, and not at once."""
        if self.is_ready:
            return
        async with self.preparing:
            if self.is_ready:
                return
            if time.monotonic() < self.retry_at:
                raise type(self.trouble)(*self.trouble.args)
            try:
                await self.compare()
                await self.catch_up()
            except FacilitatorUnavailable as error:
                self.trouble, self.retry_at = error, time.monotonic() + RETRY_SECONDS
                raise
            self.is_ready = True

    async def compare(self) -> None:
        """A transaction for another chain is lost money; a wrong EIP-712 domain refuses every payment."""
        [chain_id] = await self.chain.ask_all(("eth_chainId", []))
        if number(chain_id) != self.network.chain_id:
            raise ChainMismatch(
                f"the RPC URL of {self.network.id} belongs to another chain, eip155:{number(chain_id)}"
            )
        for asset in self.assets:
            code, domain = await self.chain.ask_all(
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

    async def catch_up(self) -> None:
        """Never sign with a nonce that the chain has seen: the key may have been used elsewhere."""
        [count] = await self.chain.ask_all(("eth_getTransactionCount", [self.signer, "pending"]))
        await transactions.register(self.pool, self.network.id, self.signer, number(count))

    async def fees(self) -> Fees:
        """What to offer for gas, as of a few seconds ago, or of a minute ago while the node does not say."""
        fees = self.known_fees
        if fees is not None and time.monotonic() < fees.known_at + FEES_SECONDS:
            return fees
        try:
            self.known_fees = await self.ask_fees()
        except FacilitatorUnavailable:
            if fees is None or time.monotonic() > fees.known_at + FEES_STALE_SECONDS:
                raise
            return fees
        return self.known_fees

    async def ask_fees(self) -> Fees:
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
