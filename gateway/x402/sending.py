"""Transactions on their way to a node: each is sent once, for all the payments that are in it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import structlog

from gateway.kit.sql import OUTAGES
from gateway.kit.tasks import Crew, Outcome
from gateway.x402.chain import Chain, NodeRefused
from gateway.x402.facilitator import FacilitatorUnavailable
from gateway.x402.questions import Request
from gateway.x402.token import Proofs
from gateway.x402.transactions import Signed

log = structlog.get_logger(__name__)

# So many transactions that were not mined when they were sent, and the chain is known for it.
UNMINED_MAX = 3

Refused: TypeAlias = Callable[[NodeRefused], Awaitable[None]]
"""Told why the node did not take a transaction."""


class Sending:
    """One network's, in this process."""

    def __init__(self, chain: Chain, refused: Refused, *, asks_for_receipts: bool) -> None:
        self.chain = chain
        self.refused = refused
        self.unmined = 0 if asks_for_receipts else UNMINED_MAX
        """How often in a row a transaction was not mined when it was sent."""
        self.crew = Crew()
        self.going: dict[bytes, asyncio.Future[Proofs | None]] = {}

    async def close(self) -> None:
        await self.crew.close()

    def send(self, signed: Signed) -> "asyncio.Future[Proofs | None]":
        """What its receipt says, if the node has that at once; None also when it could not be sent.

        Stored is as good as sent: whoever asks for the outcome sends it again. Who is cancelled while waiting
        learns of it when it was sent, as the others do who are in it.
        """
        going = self.going.get(signed.hash)
        if going is None:
            going = self.going[signed.hash] = Outcome()
            self.crew.start(self.deliver(signed, going))
        return going

    async def deliver(self, signed: Signed, going: "asyncio.Future[Proofs | None]") -> None:
        proofs = None
        try:
            proofs = await self.hand_over(signed)
        except (NodeRefused, FacilitatorUnavailable, *OUTAGES) as error:
            log.warning("transaction.not_sent", transaction="0x" + signed.hash.hex(), reason=repr(error))
        finally:
            del self.going[signed.hash]
            going.set_result(proofs)

    async def hand_over(self, signed: Signed) -> Proofs | None:
        questions: list[Request] = [("eth_sendRawTransaction", ["0x" + signed.raw.hex()])]
        # Some chains mine what they are sent. The others are not asked every time.
        if self.unmined < UNMINED_MAX:
            questions.append(("eth_getTransactionReceipt", ["0x" + signed.hash.hex()]))
        error, *receipts = await self.chain.ask_at_once(*questions)
        if isinstance(error, NodeRefused):
            await self.refused(error)
            raise error
        if not receipts:
            return None
        mined = receipts[0] if isinstance(receipts[0], dict) else None
        self.unmined = self.unmined + 1 if mined is None else 0
        return None if mined is None else Proofs(mined)
