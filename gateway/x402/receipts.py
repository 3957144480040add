"""Where a stored transaction stands, by what the chain can prove.

``settled`` needs the asset's own ``Transfer`` event at the depth that the settings ask for. ``failed`` needs
proof that the payer was not and will not be charged by this authorization; all else is not known yet.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import structlog

from gateway.kit.sql import Pool
from gateway.x402 import token, transactions
from gateway.x402.chain import Chain, NodeRefused, call, entry, is_true, number, text
from gateway.x402.facilitator import Settlement
from gateway.x402.questions import Request
from gateway.x402.transactions import Stored

log = structlog.get_logger(__name__)

RESEND_SECONDS = 2.0
# Nodes limit how many blocks one question about events may span.
LOGS_BLOCKS = 500
# How far the chain's clock may be from ours.
CLOCK_SLACK_SECONDS = 300

EVENT_MISMATCH = "invalid_exact_evm_transfer_event_mismatch"


Unstick: TypeAlias = Callable[[str, int], Awaitable[None]]
"""Told of a signer's next nonce, whose transaction is known to the node and not mined."""

Alone: TypeAlias = Callable[[Stored], Awaitable[bool]]
"""Send a payment alone that its shared transaction did not settle; False when it cannot settle."""


class Evidence:
    """What the chain can say of one payment, whoever sent the transaction."""

    def __init__(self, chain: Chain, stored: Stored, confirmations: int) -> None:
        self.chain = chain
        self.stored = stored
        self.confirmations = confirmations

    async def look(self) -> Settlement | None:
        """The outcome by a transaction that is named, or without one once the authorization has expired."""
        receipt, confirmed = await self.receipt()
        # The wrong transaction may have been named, so one that is no proof of a transfer is no proof at all.
        if receipt is not None and self.proves(receipt):
            return await self.judge(receipt, confirmed)
        return await self.without_us(confirmed)

    async def receipt(self) -> tuple[Mapping[str, Any] | None, int]:
        """The receipt of whichever transaction was mined, and the height that counts as deep enough."""
        asked: list[Request] = [("eth_getTransactionReceipt", [one]) for one in self.stored.candidates]
        height, *receipts = await self.chain.ask_all(("eth_blockNumber", []), *asked)
        mined = [found for one in receipts if (found := entry(one)) is not None]
        # Of several that are mined, which can be after a reorganization, the one that moved the money.
        mined.sort(key=self.proves, reverse=True)
        return next(iter(mined), None), number(height) - self.confirmations + 1

    async def judge(self, receipt: Mapping[str, Any], confirmed: int) -> Settlement | None:
        """What a receipt says, once its block is deep enough."""
        if number(receipt.get("blockNumber")) > confirmed:
            return None
        mined = text(receipt.get("transactionHash")).lower()
        if self.proves(receipt):
            return Settlement("settled", mined)
        one = self.stored
        spent, balance = await self.chain.ask_all(
            self.state_at(confirmed), call(one.asset, token.balance_of(one.payer), block=hex(confirmed))
        )
        if is_true(spent):
            return await self.spent_by(confirmed)
        # A shared transaction succeeds without those of its payments that cannot be made.
        if number(receipt.get("status")) != 0 and not one.is_shared:
            return Settlement("failed", mined, EVENT_MISMATCH)
        is_drained = not isinstance(balance, NodeRefused) and number(balance) < one.amount
        return Settlement("failed", mined, "insufficient_funds" if is_drained else "transaction_failed")

    async def without_us(self, confirmed: int) -> Settlement | None:
        """What became of an authorization whose transaction is not mined: spent, expired, or neither yet."""
        if confirmed < 0:
            return None
        block, spent = await self.chain.ask_all(
            ("eth_getBlockByNumber", [hex(confirmed), False]), self.state_at(confirmed)
        )
        if is_true(spent):
            return await self.spent_by(confirmed)
        if number((entry(block) or {}).get("timestamp")) >= self.stored.valid_before:
            return self.failed("invalid_exact_evm_payload_authorization_valid_before")
        return None

    async def spent_by(self, confirmed: int) -> Settlement | None:
        """Find what spent the authorization, which is public: anybody may have sent it before us."""
        spending = await self.find_spending(confirmed)
        if spending is None:
            log.warning("authorization.spent_unseen", transaction=self.stored.hash_text)
            return None
        theirs = str(spending["transactionHash"])
        receipt = entry(await self.chain.ask("eth_getTransactionReceipt", theirs))
        if receipt is None:
            return None
        if self.proves(receipt):
            return Settlement("settled", theirs)
        is_canceled = spending["topics"][0] == token.AUTHORIZATION_CANCELED
        return self.failed("invalid_exact_evm_nonce_already_used" if is_canceled else EVENT_MISMATCH)

    async def find_spending(self, confirmed: int) -> Mapping[str, Any] | None:
        """The asset's event that says so: after the claim, which found it unspent, and before it expired."""
        claimed = int(self.stored.claimed_at.timestamp())
        first = await self.block_at(claimed - CLOCK_SLACK_SECONDS, confirmed)
        last = await self.block_at(self.stored.valid_before + CLOCK_SLACK_SECONDS, confirmed)
        wanted = {
            "address": self.stored.asset,
            "topics": [
                [token.AUTHORIZATION_USED, token.AUTHORIZATION_CANCELED],
                "0x" + token.word(self.stored.payer).hex(),
                "0x" + self.stored.nonce.hex(),
            ],
        }
        for start in range(first, last + 1, LOGS_BLOCKS):
            end = min(start + LOGS_BLOCKS - 1, last)
            span = {"fromBlock": hex(start), "toBlock": hex(end)}
            found = await self.chain.ask("eth_getLogs", {**wanted, **span})
            if found:
                return found[0]  # type: ignore[no-any-return]
        return None

    async def block_at(self, timestamp: int, height: int) -> int:
        """The first block that is not before this time, or the last of all."""
        low, high = 0, height
        while low < high:
            middle = (low + high) // 2
            [block] = await self.chain.ask_all(("eth_getBlockByNumber", [hex(middle), False]))
            if number((entry(block) or {}).get("timestamp")) >= timestamp:
                high = middle
            else:
                low = middle + 1
        return low

    def proves(self, receipt: Mapping[str, Any]) -> bool:
        one = self.stored
        return token.is_proof(receipt, one.asset, one.payer, one.pay_to, one.amount, one.nonce)

    def failed(self, code: str) -> Settlement:
        return Settlement("failed", self.stored.hash_text, code)

    def state_at(self, block: int) -> Request:
        data = token.authorization_state(self.stored.payer, self.stored.nonce)
        return call(self.stored.asset, data, block=hex(block))


class Watch(Evidence):
    """One payment's transaction of our own, from stored to proven."""

    def __init__(
        self, chain: Chain, pool: Pool, stored: Stored, confirmations: int, unstick: Unstick, alone: Alone
    ) -> None:
        super().__init__(chain, stored, confirmations)
        self.pool = pool
        self.unstick = unstick
        self.alone = alone
        self.resend_at = 0.0

    async def look(self) -> Settlement | None:
        """Return the outcome once it is proven; send the transaction again when the node lost it."""
        receipt, confirmed = await self.receipt()
        if receipt is not None:
            found = await self.judge(receipt, confirmed)
            is_failed = found is not None and found.outcome == "failed"
            # What it was mined with may be to blame, which used up the gas: only alone does a payment fail.
            if is_failed and self.stored.is_shared and await self.alone(self.stored):
                self.stored = await transactions.of_payment(self.pool, self.stored.id) or self.stored
                self.resend_at = time.monotonic() + RESEND_SECONDS
                return None
            return found
        is_dead = await self.send_again()
        if is_dead or time.time() > self.stored.valid_before:
            return await self.without_us(confirmed)
        return None

    async def send_again(self) -> bool:
        """Send what the node may have lost, now and then; True when another transaction took our nonce.

        Earlier transactions of the signer go first: a missing one holds up ours, and its process may be gone.
        """
        stored, now = self.stored, time.monotonic()
        if stored.signer is None or stored.signer_nonce is None:
            # Somebody else was to send it, before the settings changed.
            return True
        if now < self.resend_at:
            return False
        is_first = self.resend_at == 0
        self.resend_at = now + RESEND_SECONDS
        if is_first and entry(await self.chain.ask("eth_getTransactionByHash", stored.candidates[0])):
            return False
        count = number(await self.chain.ask("eth_getTransactionCount", stored.signer, "latest"))
        if count > stored.signer_nonce:
            # By a replacement perhaps, that another process made.
            self.stored = await transactions.of_payment(self.pool, stored.id) or stored
            return True
        for raw in await transactions.from_nonce(
            self.pool, stored.network, stored.signer, count, stored.signer_nonce
        ):
            try:
                await self.chain.ask("eth_sendRawTransaction", "0x" + raw.hex())
            except NodeRefused as error:
                log.info("transaction.not_sent_again", transaction=stored.hash_text, reason=str(error))
        await self.unstick(stored.signer, count)
        return False
