"""Payouts on chain: ERC-20 transfers by the keys that settle payments.

Signed with a nonce of the same row as settlements and stored in the same table, before anything is sent; see
``submissions``. So whoever sends a signer's transactions again, or replaces a stuck one, does it for payouts
as well, and one account nonce is all that a payout ever has: it cannot be sent twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from gateway.kit.sql import Pool
from gateway.ledger import payouts
from gateway.ledger.payouts import Payout
from gateway.x402 import token, transactions
from gateway.x402.chain import NodeRefused, call, entry, number
from gateway.x402.facilitator import Facilitator, FacilitatorUnavailable
from gateway.x402.local import LocalFacilitator
from gateway.x402.signers import Fields, Signer
from gateway.x402.token import selector, word

log = structlog.get_logger(__name__)

BATCH = 50
# A payout is looked at again after so long, and one that was sent until it is final.
AGE = timedelta(seconds=4)
RECHECK_AGE = timedelta(seconds=60)

TRANSFER = selector(b"transfer(address,uint256)")
TRANSFER_FROM = selector(b"transferFrom(address,address,uint256)")
ALLOWANCE = selector(b"allowance(address,address)")


@dataclass(frozen=True, slots=True)
class Purse:
    """Whose tokens are sent, and who signs for it."""

    signer: Signer
    source: str

    def data(self, one: Payout) -> bytes:
        if self.source == self.signer.address:
            return TRANSFER + word(one.destination) + one.amount.to_bytes(32, "big")
        return TRANSFER_FROM + word(self.source) + word(one.destination) + one.amount.to_bytes(32, "big")


async def work(
    pool: Pool,
    facilitators: Mapping[str, Facilitator],
    age: timedelta = AGE,
    recheck: timedelta = RECHECK_AGE,
) -> int:
    """Bring every payout that is due a step on; return how many were looked at."""
    looked = 0
    for network, facilitator in facilitators.items():
        if not isinstance(facilitator, LocalFacilitator):
            # Those of such a network are a person's to send.
            continue
        for one in await payouts.take_due(pool, network, age, recheck, BATCH):
            try:
                await step(pool, facilitator, one)
            except (FacilitatorUnavailable, NodeRefused) as error:
                log.warning("payout.waits", payout_id=str(one.id), reason=str(error))
            except Exception:
                # One that cannot be read must not hold up everybody else's.
                log.exception("payout.unread", payout_id=str(one.id))
            looked += 1
    return looked


async def step(pool: Pool, facilitator: LocalFacilitator, one: Payout) -> None:
    await facilitator.prepare()
    if one.state == "requested":
        await send(pool, facilitator, one)
    else:
        await look(pool, facilitator, one)


async def send(pool: Pool, facilitator: LocalFacilitator, one: Payout) -> None:
    await facilitator.gas_money.check()
    purse = await purse_for(pool, facilitator, one)
    if purse is None:
        # The operator's to mend; the publisher's money is where it was, and the alert says how long it waits.
        log.warning("payout.no_funds", payout_id=str(one.id), network=one.network, asset=one.asset)
        return
    if await is_refused(facilitator, one, purse):
        async with pool.acquire() as connection, connection.transaction():
            locked = await payouts.lock(connection, one.id)
            if locked is not None and locked.state == "requested":
                await payouts.failed(connection, locked, "the token refuses the transfer to this wallet")
        return
    raw = await sign(pool, facilitator, one, purse)
    if raw is not None:
        await facilitator.send(raw)


async def sign(pool: Pool, facilitator: LocalFacilitator, one: Payout, purse: Purse) -> bytes | None:
    """Signed, stored and submitted in one commit; None when somebody else has decided it."""
    network, signer = facilitator.network, purse.signer
    fees = await facilitator.gas.fees()
    async with pool.acquire() as connection, connection.transaction():
        if not await payouts.submit(connection, one.id, purse.source):
            return None
        nonce = await transactions.take_nonces(connection, network.id, signer.address, 1)
        to = bytes.fromhex(one.asset[2:])
        fields = Fields(network.chain_id, nonce, network.gas_limit, to, purse.data(one))
        signed = signer.sign(fields, fees)
        await transactions.store(connection, network.id, signer.address, nonce, [one.id], [signed])
    log.info("payout.submitted", payout_id=str(one.id), transaction="0x" + signed.hash.hex())
    return signed.raw


async def purse_for(pool: Pool, facilitator: LocalFacilitator, one: Payout) -> Purse | None:
    """The platform's wallet, where a key of ours is its own or may spend from it, else a key's own tokens."""
    signers = [signer for signer in facilitator.signers if signer.has_gas_money]
    pay_to = facilitator.network.pay_to
    wallet = pay_to.lower() if pay_to else None
    of_wallet = [Purse(signer, wallet) for signer in signers if wallet]
    for purse in [*of_wallet, *(Purse(signer, signer.address) for signer in signers)]:
        asked = [call(one.asset, token.balance_of(purse.source))]
        if purse.source != purse.signer.address:
            asked.append(call(one.asset, ALLOWANCE + word(purse.source) + word(purse.signer.address)))
        needed = one.amount + await payouts.under_way(pool, one.asset_id, purse.source)
        if all(number(answer) >= needed for answer in await facilitator.chain.ask_all(*asked)):
            return purse
    return None


async def is_refused(facilitator: LocalFacilitator, one: Payout, purse: Purse) -> bool:
    """Whether the token would not do it, say because it has the receiver on a list. Nothing is signed yet."""
    gas = hex(facilitator.network.gas_limit)
    asked = call(one.asset, purse.data(one), sender=purse.signer.address, gas=gas)
    [answer] = await facilitator.chain.ask_all(asked)
    if isinstance(answer, NodeRefused):
        if answer.is_execution:
            return True
        raise answer
    # Some tokens answer false where others revert, and some answer nothing.
    return answer not in (None, "", "0x") and number(answer) == 0


async def look(pool: Pool, facilitator: LocalFacilitator, one: Payout) -> None:
    """What the chain says of what was signed for it."""
    asked = [("eth_getTransactionReceipt", [name]) for name in one.candidates]
    height, *answers = await facilitator.chain.ask_all(("eth_blockNumber", []), *asked)
    receipt = next((found for answer in answers if (found := entry(answer)) is not None), None)
    if receipt is None:
        await send_again(pool, facilitator, one, number(height))
        return
    depth = number(height) - number(receipt.get("blockNumber")) + 1
    is_final = depth >= facilitator.network.final_blocks
    assert one.source is not None, "a constraint: it is signed for"
    if token.is_proof(receipt, one.asset, one.source, one.destination, one.amount):
        if depth >= facilitator.network.depth(one.amount, one.decimals):
            await arrived(pool, one, bytes.fromhex(str(receipt["transactionHash"])[2:]), is_final=is_final)
    elif is_final:
        await not_proven(pool, one, is_reverted=number(receipt.get("status")) == 0)


async def arrived(pool: Pool, one: Payout, known_hash: bytes, *, is_final: bool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        locked = await payouts.lock(connection, one.id)
        if locked is not None and await payouts.sent(connection, locked, "chain", known_hash=known_hash):
            log.info("payout.sent", payout_id=str(one.id), transaction="0x" + known_hash.hex())
        await payouts.confirm(connection, one.id, known_hash, is_final=is_final)


async def not_proven(pool: Pool, one: Payout, *, is_reverted: bool) -> None:
    """Too deep in the chain to change, and not what was wanted."""
    if not is_reverted:
        await doubtful(pool, one, "mined, and the token does not say that it moved this amount")
        return
    reason = "the token refused the transfer on chain"
    async with pool.acquire() as connection, connection.transaction():
        locked = await payouts.lock(connection, one.id)
        if locked is not None and locked.state == "sent":
            await payouts.returned(connection, locked, reason)
        elif locked is not None:
            await payouts.failed(connection, locked, reason)
    log.error("payout.reverted", payout_id=str(one.id), transaction=one.hash_text)


async def send_again(pool: Pool, facilitator: LocalFacilitator, one: Payout, height: int) -> None:
    """Send what the node may have lost, the signer's earlier ones first: a missing one holds up this one."""
    assert one.signer is not None, "what is submitted was signed"
    assert one.signer_nonce is not None, "by somebody's next nonce"
    if one.state == "sent":
        log.error("payout.vanished", payout_id=str(one.id), transaction=one.hash_text)
    chain, final = facilitator.chain, max(height - facilitator.network.final_blocks + 1, 0)
    asked = [("eth_getTransactionCount", [one.signer, at]) for at in ("latest", hex(final))]
    again = [("eth_getTransactionReceipt", [name]) for name in await newest(pool, one)]
    latest, settled, *receipts = await chain.ask_all(*asked, *again)
    if any(entry(answer) is not None for answer in receipts):
        # Mined between the two questions, or replaced by another process: the next look sees it.
        return
    if not isinstance(settled, NodeRefused) and number(settled) > one.signer_nonce:
        # Nodes differ in what they still know, so a person looks before the money is anybody's again.
        await doubtful(
            pool, one, "another transaction of the signer has its nonce: was the key used elsewhere?"
        )
        return
    count = number(latest)
    if count > one.signer_nonce:
        return
    for raw in await transactions.from_nonce(pool, one.network, one.signer, count, one.signer_nonce):
        try:
            await chain.ask("eth_sendRawTransaction", "0x" + raw.hex())
        except NodeRefused as error:
            log.info("payout.not_sent_again", payout_id=str(one.id), reason=str(error))
    await facilitator.unstick(one.signer, count)


async def newest(pool: Pool, one: Payout) -> Sequence[str]:
    """Another process may have replaced it since it was read."""
    found = await payouts.find(pool, one.id)
    return found.candidates if found else one.candidates


async def doubtful(pool: Pool, one: Payout, reason: str) -> None:
    await payouts.doubt(pool, one.id, reason)
    log.error("payout.in_doubt", payout_id=str(one.id), transaction=one.hash_text, reason=reason)
