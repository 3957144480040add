"""Where a stored transaction stands, by what the chain can prove.

``settled`` needs the asset's own ``Transfer`` event at the depth that the settings ask for. ``failed`` needs
proof that the payer was not and will not be charged by this authorization; all else is not known yet.
"""

import time
from collections.abc import Mapping
from typing import Any

import structlog

from gateway.kit.sql import Pool
from gateway.x402 import token, transactions
from gateway.x402.chain import Chain, NodeRefused, Request, call, entry, is_true, number
from gateway.x402.facilitator import Settlement
from gateway.x402.transactions import Stored

log = structlog.get_logger(__name__)

RESEND_SECONDS = 2.0
# Nodes limit how many blocks one question about events may span.
LOGS_BLOCKS = 500
# How far the chain's clock may be from ours.
CLOCK_SLACK_SECONDS = 300

EVENT_MISMATCH = "invalid_exact_evm_transfer_event_mismatch"


class Watch:
    """One payment's transaction, from stored to proven."""

    def __init__(self, chain: Chain, pool: Pool, stored: Stored, confirmations: int) -> None:
        self.chain = chain
        self.pool = pool
        self.stored = stored
        self.confirmations = confirmations
        self.resend_at = 0.0

    async def look(self) -> Settlement | None:
        """Return the outcome once it is proven; send the transaction again when the node lost it."""
        ours = self.stored.hash_text
        receipt, transaction, height = await self.chain.ask_all(
            ("eth_getTransactionReceipt", [ours]),
            ("eth_getTransactionByHash", [ours]),
            ("eth_blockNumber", []),
        )
        confirmed = number(height) - self.confirmations + 1
        if entry(receipt) is not None:
            return await self.judge(receipt, confirmed)
        is_dead = await self.send_again(is_unknown=entry(transaction) is None)
        if is_dead or time.time() > self.stored.valid_before:
            return await self.without_us(confirmed)
        return None

    async def judge(self, receipt: Mapping[str, Any], confirmed: int) -> Settlement | None:
        """What a receipt says, once its block is deep enough."""
        if number(receipt["blockNumber"]) > confirmed:
            return None
        if self.proves(receipt):
            return Settlement("settled", self.stored.hash_text)
        [spent] = await self.chain.ask_all(self.state_at(confirmed))
        if is_true(spent):
            return await self.spent_by(confirmed)
        is_reverted = number(receipt["status"]) == 0
        return self.failed("transaction_failed" if is_reverted else EVENT_MISMATCH)

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

    async def send_again(self, *, is_unknown: bool) -> bool:
        """Send what the node may have lost, now and then; True when another transaction took our nonce.

        Earlier transactions of the signer go first: a missing one holds up ours, and its process may be gone.
        """
        now = time.monotonic()
        is_first = self.resend_at == 0
        if now < self.resend_at:
            return False
        self.resend_at = now + RESEND_SECONDS
        if is_first and not is_unknown:
            return False
        stored = self.stored
        count = number(await self.chain.ask("eth_getTransactionCount", stored.signer, "latest"))
        if count > stored.signer_nonce:
            return True
        for raw in await transactions.from_nonce(
            self.pool, stored.network, stored.signer, count, stored.signer_nonce
        ):
            try:
                await self.chain.ask("eth_sendRawTransaction", "0x" + raw.hex())
            except NodeRefused as error:
                log.info("transaction.not_sent_again", transaction=stored.hash_text, reason=str(error))
        return False

    def proves(self, receipt: Mapping[str, Any]) -> bool:
        one = self.stored
        return number(receipt["status"]) == 1 and token.has_transfer(
            receipt, one.asset, one.payer, one.pay_to, one.amount
        )

    def failed(self, code: str) -> Settlement:
        return Settlement("failed", self.stored.hash_text, code)

    def state_at(self, block: int) -> Request:
        data = token.authorization_state(self.stored.payer, self.stored.nonce)
        return call(self.stored.asset, data, block=hex(block))
