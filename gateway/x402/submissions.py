"""What one signer submits: payments that come together get consecutive nonces and one commit.

The order that a crash cannot break stays what it is: states, nonces and signed transactions are committed,
and only then is anything sent. Each payment still decides for itself; one that is not claimed any more takes
no nonce. Who knows the next nonce, because nobody else has used the key since, signs first and commits all of
it by one statement. Several authorizations in one transaction of the chain would begin here, where a batch is
signed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from config.settings import Network
from gateway.kit.groups import Group
from gateway.kit.sql import Db, Pool
from gateway.x402 import payments, transactions, undeployed
from gateway.x402.facilitator import Authorization
from gateway.x402.gas import Fees
from gateway.x402.signers import Signer
from gateway.x402.transactions import Signed

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
    is_tried: bool = False
    """Given to the database before: it may be stored, by a commit that nobody heard of."""


class Submissions:
    def __init__(self, pool: Pool, network: Network, signer: Signer) -> None:
        self.pool, self.network, self.signer = pool, network, signer
        # One lane: a signer's nonces are in the order of its commits, so a second one would only wait.
        self.group = Group(self.store, lanes=1, size_max=BATCH_MAX)
        self.nonce: int | None = None
        """The next one, unless somebody else has signed since."""
        self.wary = 0
        """For so many batches more, somebody else is expected to."""

    async def add(self, submission: Submission) -> Signed | None:
        """What there is to send, stored; None when the payment is not claimed any more."""
        return await self.group.add(submission)

    async def close(self) -> None:
        await self.group.close()

    async def store(self, batch: Sequence[Submission]) -> Sequence[Signed | None]:
        nonce, self.nonce = self.nonce, None
        tried = [one.payment_id for one in batch if one.is_tried]
        for one in batch:
            one.is_tried = True
        if nonce is not None and not tried and not self.wary:
            if (signed := await self.guess(batch, nonce)) is not None:
                self.nonce = nonce + len(signed)
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
        signed = [self.sign_one(one, nonce + place) for place, one in enumerate(batch)]
        is_stored = await transactions.submit(
            self.pool, self.network.id, self.signer.address, nonce, usage, signed
        )
        return signed if is_stored else None

    async def decide(self, batch: Sequence[Submission], tried: Sequence[UUID]) -> Sequence[Signed | None]:
        """Find out in a transaction which of them are claimed and what their nonces are."""
        async with self.pool.acquire() as connection, connection.transaction():
            if tried:
                # The guess that nobody heard of may still run: like it, lock the signer before its payments.
                await transactions.take_nonces(connection, self.network.id, self.signer.address, 0)
            claimed = await payments.submit(connection, {one.payment_id: one.usage for one in batch})
            # Each once, should somebody submit the same payment twice.
            taken = {one.payment_id: one for one in batch if one.payment_id in claimed}
            nonce, signed = await self.sign(connection, list(taken.values())) if taken else (None, [])
            ours = dict(zip(taken, signed, strict=True))
            if missed := [one for one in tried if one not in ours]:
                ours |= await transactions.signed(connection, missed)
        # Committed: whoever comes next has the nonces after these.
        self.nonce = nonce
        return [ours.pop(one.payment_id, None) for one in batch]

    async def sign(self, db: Db, taken: Sequence[Submission]) -> tuple[int, Sequence[Signed]]:
        """Sign them with the signer's next nonces, and store what was signed; also the nonce after those."""
        network, signer = self.network.id, self.signer.address
        first = await transactions.take_nonces(db, network, signer, len(taken))
        signed = [self.sign_one(one, first + place) for place, one in enumerate(taken)]
        ids = [one.payment_id for one in taken]
        await transactions.store(db, network, signer, first, ids, signed)
        return first + len(signed), signed

    def sign_one(self, one: Submission, nonce: int) -> Signed:
        network = self.network
        if undeployed.is_wrapped(one.authorization):
            return self.signer.sign(undeployed.transaction(one.authorization, network, nonce), one.fees)
        return self.signer.transfer(one.authorization, network.chain_id, nonce, network.gas_limit, one.fees)
