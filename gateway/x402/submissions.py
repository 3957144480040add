"""What one signer submits: payments that come together get consecutive nonces and one commit.

The order that a crash cannot break stays what it is: states, nonces and signed transactions are committed,
and only then is anything sent. Each payment still decides for itself; one that is not claimed any more takes
no nonce. Who knows the next nonce, because nobody else has used the key since, signs first and commits all of
it by one statement. Where the chain has a Multicall3, payments that come together share a transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from config.settings import Network
from gateway.answers.store import Kept
from gateway.kit.groups import Crowd, Group
from gateway.kit.sql import Db, Pool
from gateway.x402 import multicall, payments, transactions, undeployed
from gateway.x402.facilitator import Authorization
from gateway.x402.gas import Fees
from gateway.x402.signers import Fields, Signer
from gateway.x402.transactions import Signed, Transaction

# Another process of the same signer waits for as long as this many take to be signed.
BATCH_MAX = 64
# Once another process was quicker, so many batches ask for their nonces before they are signed.
GUESSES_OMITTED = 20


@dataclass(slots=True, eq=False)
class Submission:
    payment_id: UUID
    authorization: Authorization
    usage: dict[str, Any]
    fees: Fees
    kept: Kept | None = None
    """The answer that is paid for, to be kept with it."""
    is_tried: bool = False
    """Given to the database before: it may be stored, by a commit that nobody heard of."""


class Submissions:
    def __init__(self, pool: Pool, network: Network, signer: Signer, crowd: Crowd | None = None) -> None:
        self.pool, self.network, self.signer = pool, network, signer
        # One lane: a signer's nonces are in the order of its commits, so a second one would only wait.
        self.group = Group(self.store, lanes=1, size_max=BATCH_MAX, crowd=crowd)
        self.nonce: int | None = None
        """The next one, unless somebody else has signed since."""
        self.wary = 0
        """For so many batches more, somebody else is expected to."""
        self.multicall: bytes | None = None
        """Where the chain has a Multicall3."""

    async def add(self, submission: Submission) -> Signed | None:
        """What there is to send, stored; None when the payment is not claimed any more."""
        return await self.group.add(submission)

    @property
    def is_gathering(self) -> bool:
        """Whether there is a batch that has not gone yet and whose payments can share a transaction."""
        return self.multicall is not None and self.group.is_gathering

    async def close(self) -> None:
        await self.group.close()

    async def store(self, batch: Sequence[Submission]) -> Sequence[Signed | None]:
        nonce, self.nonce = self.nonce, None
        tried = [one.payment_id for one in batch if one.is_tried]
        for one in batch:
            one.is_tried = True
        if nonce is not None and not tried and not self.wary:
            if (signed := await self.guess(batch, nonce)) is not None:
                self.nonce = nonce + len({one.hash for one in signed})
                return signed
            self.wary = GUESSES_OMITTED
        self.wary = max(self.wary - 1, 0)
        return await self.decide(batch, tried)

    async def guess(self, batch: Sequence[Submission], nonce: int) -> Sequence[Signed] | None:
        """Sign with the nonces that are next if nobody else took them, and store it all by one statement;
        None when that was wrong, and nothing is stored.
        """
        usage = {one.payment_id: one.usage for one in batch}
        if len(usage) < len(batch):
            return None
        made = self.sign_all(batch, nonce)
        is_stored = await transactions.submit(
            self.pool, self.network.id, self.signer.address, nonce, usage, made, answers_of(batch)
        )
        return in_order(batch, made) if is_stored else None

    async def decide(self, batch: Sequence[Submission], tried: Sequence[UUID]) -> Sequence[Signed | None]:
        """Find out in a transaction which of them are claimed and what their nonces are."""
        async with self.pool.acquire() as connection, connection.transaction():
            if tried:
                # The guess that nobody heard of may still run: like it, lock the signer before its payments.
                await transactions.take_nonces(connection, self.network.id, self.signer.address, 0)
            usage = {one.payment_id: one.usage for one in batch}
            claimed = await payments.submit(connection, usage, answers_of(batch))
            # Each once, should somebody submit the same payment twice.
            taken = {one.payment_id: one for one in batch if one.payment_id in claimed}
            nonce, signed = await self.sign(connection, list(taken.values())) if taken else (None, [])
            ours = dict(zip(taken, signed, strict=True))
            if missed := [one for one in tried if one not in ours]:
                ours |= await transactions.signed(connection, missed)
        # Committed: whoever comes next has the nonces after these.
        self.nonce = nonce
        return [ours.pop(one.payment_id, None) for one in batch]

    async def alone(self, one: Submission) -> Signed | None:
        """A transaction of its own for a payment that its shared one did not settle; None when it has one."""
        async with self.pool.acquire() as connection, connection.transaction():
            # The signer before its payments, as in a guess.
            await transactions.take_nonces(connection, self.network.id, self.signer.address, 0)
            if not await transactions.leave(connection, one.payment_id):
                return None
            _, [signed] = await self.sign(connection, [one])
        return signed

    async def sign(self, db: Db, taken: Sequence[Submission]) -> tuple[int, Sequence[Signed]]:
        """Sign them with the signer's next nonces, and store what was signed; also the nonce after those."""
        network, signer = self.network.id, self.signer.address
        count = len(self.shares(taken))
        first = await transactions.take_nonces(db, network, signer, count)
        made = self.sign_all(taken, first)
        await transactions.store(db, network, signer, first, made)
        return first + count, in_order(taken, made)

    def sign_all(self, batch: Sequence[Submission], first_nonce: int) -> Sequence[Transaction]:
        return [
            Transaction(self.sign_share(share, first_nonce + place), [one.payment_id for one in share])
            for place, share in enumerate(self.shares(batch))
        ]

    def shares(self, batch: Sequence[Submission]) -> Sequence[Sequence[Submission]]:
        """Which of them share a transaction: as many as there is gas for, and as the signer can pay for."""
        alone = [[one] for one in batch]
        size_max = min(
            self.network.payments_per_transaction_max,
            multicall.GAS_MAX // self.network.gas_limit,
            self.signer.transfers_affordable,
        )
        if self.multicall is None or size_max < 2 or len(batch) < 2:
            return alone
        together = [one for one in batch if multicall.can_share(one.authorization)]
        shared = [together[start : start + size_max] for start in range(0, len(together), size_max)]
        return shared + [[one] for one in batch if not multicall.can_share(one.authorization)]

    def sign_share(self, share: Sequence[Submission], nonce: int) -> Signed:
        network, first = self.network, share[0]
        if undeployed.is_wrapped(first.authorization):
            return self.signer.sign(undeployed.transaction(first.authorization, network, nonce), first.fees)
        if len(share) == 1:
            return self.signer.transfer(
                first.authorization, network.chain_id, nonce, network.gas_limit, first.fees
            )
        assert self.multicall is not None, "nothing is shared without it"
        data = multicall.aggregate([one.authorization for one in share])
        gas = network.gas_limit * len(share)
        return self.signer.sign(Fields(network.chain_id, nonce, gas, self.multicall, data), share[-1].fees)


def answers_of(batch: Sequence[Submission]) -> Sequence[Kept]:
    return [one.kept for one in batch if one.kept is not None]


def in_order(batch: Sequence[Submission], made: Sequence[Transaction]) -> Sequence[Signed]:
    """Each payment's transaction, in the place of the payment."""
    signed = {payment_id: one.signed for one in made for payment_id in one.payment_ids}
    return [signed[one.payment_id] for one in batch]
