"""Settle payments on a chain with our own key: the facilitator of a network that has an RPC URL.

The order that a crash cannot break: a signed transaction and its nonce are committed, then it is sent, then
its outcome is asked for. Whoever asks later, in whatever process, sends it again if the node lost it.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from config.settings import Network
from gateway.kit.sql import Pool
from gateway.ledger import accounts
from gateway.x402 import exact, finality, payments, token, transactions, undeployed
from gateway.x402.chain import Chain, NodeRefused, call, is_true, number, text
from gateway.x402.contradictions import compare
from gateway.x402.facilitator import (
    Authorization,
    ChainMismatch,
    FacilitatorUnavailable,
    PaymentInvalid,
    PaymentNotClaimed,
    Settlement,
)
from gateway.x402.gas import Fees, GasPrices
from gateway.x402.receipts import Watch
from gateway.x402.signers import Signed, Signer
from gateway.x402.transactions import Stored

log = structlog.get_logger(__name__)

RETRY_SECONDS = 1
POLL_SECONDS_MIN = 0.02
POLL_SECONDS_MAX = 1.0
# Each is an eighth dearer than the one before, so a transaction that nobody mines has a bounded price.
REPLACEMENTS_MAX = 10


class LocalFacilitator:
    """One network's, in this process; see ``Facilitator``."""

    def __init__(self, pool: Pool, network: Network) -> None:
        assert network.rpc_url is not None, "the settings give a network a node or a remote facilitator"
        self.pool = pool
        self.network = network
        self.chain = Chain(network.rpc_url)
        self.gas = GasPrices(self.chain)
        self.signers = tuple(Signer(key) for key in network.keys)
        self.assets = tuple(accounts.of_networks([network]).values())
        self.working: dict[UUID, Signer] = {}
        self.is_ready = False
        self.retry_at = 0.0
        self.trouble = FacilitatorUnavailable("the chain was not asked yet")
        self.preparing = asyncio.Lock()

    async def start(self) -> None:
        """A node that is down is no error here: the gateway has other work, and the comparison is made before
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

    async def check(self, authorization: Authorization) -> int | None:
        await self.prepare()
        if undeployed.is_wrapped(authorization):
            funds = await undeployed.check(self.chain, self.network, authorization, self.signers[0].address)
            await self.check_gas_money(await self.gas_money())
            return funds
        asset = authorization.asset.address
        # With the gas that the transaction will have, so that too little shows here.
        data = token.transfer_with_authorization(authorization)
        gas = hex(self.network.gas_limit)
        code, used, simulated, funds, *balances = await self.chain.ask_all(
            ("eth_getCode", [authorization.payer, "latest"]),
            call(asset, token.authorization_state(authorization.payer, authorization.nonce)),
            call(asset, data, sender=self.signers[0].address, gas=gas),
            call(asset, token.balance_of(authorization.payer)),
            *(("eth_getBalance", [signer.address, "latest"]) for signer in self.signers),
        )
        await self.check_signature(authorization, has_code=text(code) != "0x")
        if is_true(used):
            raise PaymentInvalid("invalid_exact_evm_nonce_already_used", "the authorization was used before")
        await self.check_gas_money([number(one) for one in balances])
        if isinstance(simulated, NodeRefused):
            raise await self.explain(authorization, simulated)
        return None if isinstance(funds, NodeRefused) else number(funds)

    async def check_again(self, authorization: Authorization) -> None:
        # The payer may have moved its money since; asking costs less than a transaction that reverts.
        await self.check(authorization)

    async def check_signature(self, authorization: Authorization, *, has_code: bool) -> None:
        """A plain account signs with its key. One with code, by EIP-7702 too, says itself what its signature
        is (ERC-1271): its key alone does not speak for it.
        """
        if has_code:
            question = token.is_valid_signature(exact.digest(authorization), authorization.signature)
            # What the wallet runs is somebody else's program; it may use as much gas as the transfer.
            asked = call(authorization.payer, question, gas=hex(self.network.gas_limit))
            [answer] = await self.chain.ask_all(asked)
            if isinstance(answer, NodeRefused) and not answer.is_execution:
                raise FacilitatorUnavailable(f"the node did not ask the wallet: {answer}")
            is_signed = not isinstance(answer, NodeRefused) and text(answer) == token.IS_VALID
        else:
            is_signed = exact.is_signed_by_key(authorization)
        if not is_signed:
            raise PaymentInvalid("invalid_exact_evm_payload_signature", exact.NOT_SIGNED)

    async def gas_money(self) -> list[int]:
        asked = (("eth_getBalance", [signer.address, "latest"]) for signer in self.signers)
        return [number(one) for one in await self.chain.ask_all(*asked)]

    async def check_gas_money(self, balances: list[int]) -> None:
        needed = undeployed.gas_limit(self.network) * (await self.gas.fees()).per_gas
        for signer, balance in zip(self.signers, balances, strict=True):
            if signer.has_gas_money and balance < needed:
                log.error("facilitator.out_of_gas_money", network=self.network.id, signer=signer.address)
            signer.has_gas_money = balance >= needed
        if not any(signer.has_gas_money for signer in self.signers):
            raise FacilitatorUnavailable("the facilitator's account is out of gas money")

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
        fees = await self.gas.fees()
        network, signer = self.network, self.least_busy()
        # Others of this process wait here rather than in the database, each with a connection in its hands.
        async with signer.signing, self.pool.acquire() as connection, connection.transaction():
            if not await payments.submit(connection, payment_id, usage):
                raise PaymentNotClaimed(f"payment {payment_id} is not claimed any more")
            nonce = await transactions.take_nonce(connection, network.id, signer.address)
            signed = self.sign(signer, authorization, nonce, fees)
            await transactions.store(
                connection, signed.hash, payment_id, network.id, signer.address, nonce, signed.raw
            )
        signer.busy += 1
        self.working[payment_id] = signer
        return signed.raw

    def sign(self, signer: Signer, authorization: Authorization, nonce: int, fees: Fees) -> Signed:
        network = self.network
        if undeployed.is_wrapped(authorization):
            return signer.sign({"nonce": nonce, **undeployed.transaction(authorization, network)}, fees)
        return signer.transfer(authorization, network.chain_id, nonce, network.gas_limit, fees)

    def least_busy(self) -> Signer:
        rich = [signer for signer in self.signers if signer.has_gas_money]
        return min(rich or self.signers, key=lambda signer: (signer.busy, signer.signing.locked()))

    async def outcome(self, payment_id: UUID, wait_seconds: float) -> Settlement:
        try:
            return await self.watched(payment_id, wait_seconds)
        finally:
            if signer := self.working.pop(payment_id, None):
                signer.busy -= 1

    async def watched(self, payment_id: UUID, wait_seconds: float) -> Settlement:
        stored = await transactions.of_payment(self.pool, payment_id)
        if stored is None or stored.state in ("claimed", "void"):
            raise LookupError(f"payment {payment_id} has nothing to ask the chain about")
        if stored.state == "settled" or stored.state == "failed":
            return Settlement(stored.state, stored.hash_text, stored.failure)
        depth = self.network.depth(stored.amount, stored.decimals)
        watch = Watch(self.chain, self.pool, stored, depth, self.unstick)
        deadline = time.monotonic() + wait_seconds
        pause = POLL_SECONDS_MIN
        while True:
            settlement = await self.look(watch)
            remaining = deadline - time.monotonic()
            if settlement is not None:
                return settlement
            if remaining <= 0:
                return Settlement("pending", watch.stored.hash_text)
            await asyncio.sleep(min(pause, remaining))
            pause = min(pause * 1.5, POLL_SECONDS_MAX)

    async def recheck(self, settled: Sequence[Stored]) -> tuple[Sequence[Stored], Sequence[Stored]]:
        await self.prepare()
        return await finality.look(self.chain, settled, self.network.final_blocks, self.again)

    async def again(self, vanished: Stored) -> Settlement | None:
        depth = self.network.depth(vanished.amount, vanished.decimals)
        found = await Watch(self.chain, self.pool, vanished, depth, self.unstick).look()
        if found is not None and found.outcome == "settled":
            await payments.rename(self.pool, vanished.id, found.transaction)
        return found

    async def look(self, watch: Watch) -> Settlement | None:
        try:
            await self.prepare()
            return await watch.look()
        except (FacilitatorUnavailable, NodeRefused) as error:
            log.warning("outcome.unknown", transaction=watch.stored.hash_text, reason=str(error))
            return None

    async def unstick(self, address: str, nonce: int) -> None:
        """Send the transaction that a signer's later ones wait for again, with a higher fee, if it is due."""
        signer = next((one for one in self.signers if one.address == address), None)
        if signer is None:
            return
        age = timedelta(seconds=self.network.replace_after_seconds)
        found = await transactions.stuck(self.pool, self.network.id, address, nonce, age, REPLACEMENTS_MAX)
        if found is None:
            return
        stuck, raw = found
        signed: Signed = signer.again(raw, self.network.chain_id, await self.gas.fees())
        # Stored before it is sent, like the first: whichever of them is mined, somebody knows what it is.
        if await transactions.replace(self.pool, stuck, signed.hash, signed.raw):
            log.warning("transaction.replaced", replaced="0x" + stuck.hex(), by="0x" + signed.hash.hex())
            await self.chain.ask("eth_sendRawTransaction", "0x" + signed.raw.hex())

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
                await compare(self.chain, self.network, self.assets)
                await self.catch_up()
            except FacilitatorUnavailable as error:
                self.trouble, self.retry_at = error, time.monotonic() + RETRY_SECONDS
                raise
            self.is_ready = True

    async def catch_up(self) -> None:
        """Never sign with a nonce that the chain has seen: a key may have been used elsewhere."""
        counts = await self.chain.ask_all(
            *(("eth_getTransactionCount", [signer.address, "pending"]) for signer in self.signers)
        )
        for signer, count in zip(self.signers, counts, strict=True):
            await transactions.register(self.pool, self.network.id, signer.address, number(count))
