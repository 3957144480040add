"""Claims of the payments of many calls: made together, each for itself.

A claim is committed before its call goes upstream. Of payments that one payer cannot have money for all at
once, the first ones stand.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias
from uuid import UUID

from gateway.kit.groups import Crowd, Group
from gateway.kit.sql import Pool
from gateway.kit.values import dataclass
from gateway.x402 import payments
from gateway.x402.payments import Claim

# Who has so many times what it has signed away is not looked at again: other processes cannot have claimed as
# much in the same moment, and if they have, a transfer reverts as when a payer moves its money.
AMPLE = 100

Claimed: TypeAlias = Literal["claimed", "taken", "promised"]
"""Whether the payment is this call's now, was another's before, or promises what its payer has not got."""

Payer: TypeAlias = tuple[UUID, str]
"""An asset and an address."""


@dataclass(frozen=True, slots=True)
class Asked:
    claim: Claim
    funds: int | None
    """What the chain says that the payer has; None where nobody can tell."""

    @property
    def payer(self) -> Payer:
        return self.claim.authorization.asset.id, self.claim.authorization.payer


class Claims:
    """Those of one process. Close it before its pool."""

    def __init__(self, pool: Pool, crowd: Crowd | None = None) -> None:
        self.pool = pool
        self.crowd = crowd or Crowd()
        self.group = Group(self.claim_batch, crowd=self.crowd)

    async def close(self) -> None:
        await self.group.close()

    def claim(self, claim: Claim, funds: int | None) -> "asyncio.Future[Claimed]":
        """Decided also for somebody who is cancelled meanwhile: see ``tasks.Outcome``."""
        return self.group.add(Asked(claim, funds))

    async def claim_batch(self, batch: Sequence[Asked]) -> Sequence[Claimed]:
        claims = [one.claim for one in batch]
        if all(one.funds is None for one in batch):
            # Nobody knows what they have, as with a remote facilitator: nothing to hold their sums against.
            made, promised = await payments.claim_all(self.pool, claims), {}
        else:
            promised = await payments.claim_and_sum(self.pool, claims)
            made = set(promised)
        if len(made) < len(batch):
            # It may have been made a moment ago, in a commit that nobody heard of.
            states = await payments.states(self.pool, [one.id for one in claims])
            made = {payment_id for payment_id, state in states.items() if state == "claimed"}
        refused = await self.refused([one for one in batch if one.claim.id in made], promised)
        return [verdict(one, made, refused) for one in batch]

    async def refused(self, made: Sequence[Asked], before: Mapping[UUID, int]) -> set[UUID]:
        """Void what goes beyond its payer's money, and return it.

        Asked once the claims are there, so that of two that are made at once, one sees the other: what an
        upstream has done cannot be taken back, and each transfer that reverts costs gas.
        """
        batch: Counter[Payer] = Counter()
        for one in made:
            batch[one.payer] += one.claim.authorization.amount
        payers = {one.payer for one in made if not is_ample(one, batch, before.get(one.claim.id))}
        if not payers:
            return set()
        promised = await payments.promised(self.pool, list(payers))
        refused = set()
        # The last to come is the first to go.
        for one in reversed(made):
            if one.funds is not None and promised.get(one.payer, 0) > one.funds:
                await payments.void(self.pool, one.claim.id, "insufficient_funds")
                promised[one.payer] -= one.claim.authorization.amount
                refused.add(one.claim.id)
        return refused


def is_ample(one: Asked, batch: Mapping[Payer, int], before: int | None) -> bool:
    """Whether its payer has far more than this batch and what was claimed ``before`` it promise."""
    if one.funds is None:
        return True
    return before is not None and one.funds >= (before + batch[one.payer]) * AMPLE


def verdict(one: Asked, made: set[UUID], refused: set[UUID]) -> Claimed:
    if one.claim.id in refused:
        return "promised"
    return "claimed" if one.claim.id in made else "taken"
