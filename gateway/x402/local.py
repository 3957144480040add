"""Settle payments on a chain with our own key: the facilitator of a network that has an RPC URL.

The order that a crash cannot break: a signed transaction and its nonce are committed, then it is sent, then
its outcome is asked for. Whoever asks later, in whatever process, sends it again if the node lost it.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog

from config.settings import Network
from gateway.answers.store import Kept
from gateway.kit.groups import Crowd
from gateway.kit.sql import Pool
from gateway.ledger import accounts
from gateway.x402 import finality, payments, receipts, transactions
from gateway.x402.chain import Chain, NodeRefused, number, text
from gateway.x402.checks import Checks
from gateway.x402.contradictions import compare
from gateway.x402.facilitator import (
    Authorization,
    ChainMismatch,
    FacilitatorUnavailable,
    PaymentInvalid,
    PaymentNotClaimed,
    Settlement,
)
from gateway.x402.gas import GasPrices
from gateway.x402.gas_money import GasMoney
from gateway.x402.mined import Mined
from gateway.x402.receipts import Watch
from gateway.x402.sending import Sending
from gateway.x402.signers import Signer
from gateway.x402.submissions import Submission, Submissions
from gateway.x402.token import Proofs
from gateway.x402.transactions import Signed, Stored

log = structlog.get_logger(__name__)

RETRY_SECONDS = 1
POLL_SECONDS_MIN = 0.02
POLL_SECONDS_MAX = 1.0
# Each is an eighth dearer than the one before, so a transaction that nobody mines has a bounded price.
REPLACEMENTS_MAX = 10


@dataclass(slots=True, eq=False)
class Sent:
    signer: Signer
    authorization: Authorization
    signed: Signed
    proofs: Proofs | None = None
    """What the node said of it with the answer to sending it, if it was mined by then."""


class LocalFacilitator:
    """One network's, in this process; see ``Facilitator``."""

    can_be_asked_again = True

    def __init__(self, pool: Pool, network: Network, crowd: Crowd | None = None) -> None:
        assert network.rpc_url is not None, "the settings give a network a node or a remote facilitator"
        self.pool = pool
        self.network = network
        self.chain = Chain(network.rpc_url, crowd)
        self.gas = GasPrices(self.chain)
        self.signers = tuple(Signer(key) for key in network.keys)
        self.assets = tuple(accounts.of_networks([network]).values())
        self.gas_money = GasMoney(self.chain, network, self.signers, self.gas)
        self.checks = Checks(self.chain, network, self.gas_money, self.signers[0].address)
        self.submissions = {one.address: Submissions(pool, network, one, crowd) for one in self.signers}
        self.sending = Sending(self.chain, self.refused, asks_for_receipts=network.confirmations == 1)
        self.mined = Mined(self.chain)
        self.sent: dict[UUID, Sent] = {}
        """Submitted here, and not waited for yet."""
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
        for submissions in self.submissions.values():
            await submissions.close()
        await self.sending.close()
        await self.mined.close()
        await self.chain.close()

    async def check(self, authorization: Authorization) -> int | None:
        if not self.is_ready:
            await self.prepare()
        return await self.checks.check(authorization)

    async def check_again(self, authorization: Authorization) -> None:
        await self.prepare()
        await self.checks.check_again(authorization)

    async def submit(
        self, payment_id: UUID, authorization: Authorization, usage: dict[str, Any], kept: Kept | None = None
    ) -> None:
        if not self.is_ready:
            await self.prepare()
        sent = await self.store(payment_id, authorization, usage, kept)
        try:
            sent.proofs = await self.sending.send(sent.signed)
        except BaseException:
            # Its caller does not wait for it, so nobody else would say that the signer has less to do.
            del self.sent[payment_id]
            sent.signer.busy -= 1
            raise

    async def refused(self, error: NodeRefused) -> None:
        if error.says("nonce too low"):
            await self.catch_up()
        if error.says("insufficient funds"):
            self.gas_money.forget()

    async def store(
        self, payment_id: UUID, authorization: Authorization, usage: dict[str, Any], kept: Kept | None = None
    ) -> Sent:
        """Sign the transfer and commit it with the payment's new state; return what there is to send."""
        submission = Submission(payment_id, authorization, usage, await self.gas.fees(), kept)
        signer = self.least_busy()
        signer.busy += 1
        try:
            signed = await self.submissions[signer.address].add(submission)
        except BaseException:
            signer.busy -= 1
            raise
        if signed is None:
            signer.busy -= 1
            raise PaymentNotClaimed(f"payment {payment_id} is not claimed any more")
        sent = self.sent[payment_id] = Sent(signer, authorization, signed)
        return sent

    def least_busy(self) -> Signer:
        """Whoever comes at the same time goes to the same one, where they can share its transaction."""
        rich = [signer for signer in self.signers if signer.has_gas_money] or self.signers
        gathering = (signer for signer in rich if self.submissions[signer.address].is_gathering)
        return next(gathering, None) or min(rich, key=lambda signer: signer.busy)

    async def outcome(self, payment_id: UUID, wait_seconds: float) -> Settlement:
        sent = self.sent.pop(payment_id, None)
        if sent is None:
            return await self.watched(payment_id, wait_seconds)
        began = time.monotonic()
        try:
            # Nearly always it is mined as it was sent, and all that its receipt has to prove is at hand.
            if wait_seconds and (settled := await self.proven(sent, wait_seconds)):
                return settled
            return await self.watched(payment_id, max(wait_seconds - (time.monotonic() - began), 0))
        finally:
            sent.signer.busy -= 1

    async def proven(self, sent: Sent, wait_seconds: float) -> Settlement | None:
        one, name = sent.authorization, "0x" + sent.signed.hash.hex()
        depth = self.network.depth(one.amount, one.asset.decimals)
        proofs = sent.proofs if depth == 1 else None
        if proofs is None:
            seconds = min(wait_seconds, receipts.RESEND_SECONDS)
            proofs = await self.mined.proofs([name], depth, seconds)
        if proofs is None or not proofs.are_of(
            one.asset.address, one.payer, one.pay_to, one.amount, one.nonce
        ):
            return None
        return Settlement("settled", name)

    async def watched(self, payment_id: UUID, wait_seconds: float) -> Settlement:
        deadline = time.monotonic() + wait_seconds
        stored = await transactions.of_payment(self.pool, payment_id)
        if stored is None or stored.state in ("claimed", "void"):
            raise LookupError(f"payment {payment_id} has nothing to ask the chain about")
        if stored.state == "settled" or stored.state == "failed":
            return Settlement(stored.state, stored.hash_text, stored.failure)
        watch = self.watch(stored)
        pause = POLL_SECONDS_MIN
        while True:
            settlement = await self.look(watch)
            remaining = deadline - time.monotonic()
            if settlement is not None:
                return settlement
            if remaining <= 0:
                return Settlement("pending", watch.stored.hash_text)
            seconds = min(remaining, receipts.RESEND_SECONDS)
            if await self.mined.proofs(watch.stored.candidates, watch.confirmations, seconds) is not None:
                # It says something else than that it is settled, and more than one look may be needed for it.
                await asyncio.sleep(min(pause, max(deadline - time.monotonic(), 0)))
                pause = min(pause * 1.5, POLL_SECONDS_MAX)

    def watch(self, stored: Stored) -> Watch:
        depth = self.network.depth(stored.amount, stored.decimals)
        return Watch(self.chain, self.pool, stored, depth, self.unstick, self.alone)

    async def recheck(self, settled: Sequence[Stored]) -> tuple[Sequence[Stored], Sequence[Stored]]:
        await self.prepare()
        return await finality.look(self.chain, settled, self.network.final_blocks, self.again)

    async def again(self, vanished: Stored) -> Settlement | None:
        found = await self.watch(vanished).look()
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

    async def alone(self, stored: Stored) -> bool:
        """See ``receipts.Alone``."""
        asset = next((one for one in self.assets if one.id == stored.asset_id), None)
        if asset is None:
            return False
        authorization = transactions.authorized(stored, asset)
        try:
            await self.checks.check_again(authorization)
        except PaymentInvalid as error:
            # If it was spent meanwhile, the chain has to say so at the depth that counts.
            return error.code == "invalid_exact_evm_nonce_already_used"
        submission = Submission(stored.id, authorization, {}, await self.gas.fees())
        if signed := await self.submissions[self.least_busy().address].alone(submission):
            log.warning("transaction.not_shared", payment_id=str(stored.id), failed=stored.hash_text)
            await self.sending.send(signed)
        return True

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
                await self.find_multicall()
                await self.catch_up()
            except FacilitatorUnavailable as error:
                self.trouble, self.retry_at = error, time.monotonic() + RETRY_SECONDS
                raise
            self.is_ready = True

    async def find_multicall(self) -> None:
        address = self.network.multicall_address
        if not address or text(await self.chain.ask("eth_getCode", address.lower(), "latest")) == "0x":
            return
        self.chain.run_together(address.lower())
        for submissions in self.submissions.values():
            submissions.multicall = bytes.fromhex(address[2:])

    async def catch_up(self) -> None:
        """Never sign with a nonce that the chain has seen: a key may have been used elsewhere."""
        counts = await self.chain.ask_all(
            *(("eth_getTransactionCount", [signer.address, "pending"]) for signer in self.signers)
        )
        for signer, count in zip(self.signers, counts, strict=True):
            await transactions.register(self.pool, self.network.id, signer.address, number(count))
