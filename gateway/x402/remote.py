"""Settle payments by asking somebody else: the facilitator of a network that has a ``facilitator_url``.

Source: x402 specification v2, sections 7 to 9. What it answers is believed only as far as it fits what was
asked: the network, the payer and the amount, and a success that is the boolean ``true``. Everything else, a
timeout, a 503 or a page of HTML, leaves the outcome unknown, and the same payload is sent again: whoever
settled a payment says so again. With a node as well, the chain has the last word.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import structlog

from config.settings import Network
from gateway.answers.store import Kept
from gateway.kit.groups import Crowd, Group
from gateway.kit.sql import Pool
from gateway.ledger import accounts
from gateway.upstreams.deadlines import Deadlines
from gateway.x402 import answers, asking, finality, payments, transactions, undeployed
from gateway.x402.answers import Nonsense, Told
from gateway.x402.chain import Chain, NodeRefused
from gateway.x402.contradictions import compare
from gateway.x402.endpoint import Endpoint, Unanswered, Unsent
from gateway.x402.facilitator import (
    Authorization,
    ChainMismatch,
    FacilitatorUnavailable,
    PaymentNotClaimed,
    Settlement,
)
from gateway.x402.receipts import Evidence
from gateway.x402.transactions import Stored

log = structlog.get_logger(__name__)

CHECK_SECONDS = 10
# What a settlement is given when nobody waits for it.
SETTLE_SECONDS_MIN = 10.0
# Less than how old a payment is before the background jobs ask for it.
UNASKED_SECONDS = 5.0
RETRY_SECONDS_MIN = 0.5
RETRY_SECONDS_MAX = 5.0
ANSWER_BYTES_MAX = 64 * 1024

NOT_ASKED = Told("pending")


class Unreached(FacilitatorUnavailable):
    """There was no connection, so nothing was sent."""


@dataclass(slots=True, eq=False)
class Submitting:
    payment_id: UUID
    usage: dict[str, Any]
    kept: Kept | None = None
    is_tried: bool = False
    """Given to the database before: by a commit that nobody heard of, perhaps."""


@dataclass(frozen=True, slots=True)
class Unasked:
    authorization: Authorization
    known_at: float
    """When it was submitted, by the monotonic clock."""


class RemoteFacilitator:
    """One network's, in this process; see ``Facilitator``."""

    def __init__(self, pool: Pool, network: Network, crowd: Crowd | None = None) -> None:
        assert network.facilitator_url is not None, "only a network that has one is given to it"
        self.pool = pool
        self.network = network
        self.url = network.facilitator_url.rstrip("/")
        self.assets = accounts.of_networks([network])
        self.chain = Chain(network.rpc_url, crowd) if network.rpc_url else None
        # A facilitator that is asked again may say of what it did itself that the authorization was used.
        self.can_be_asked_again = self.chain is not None
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if network.facilitator_authorization is not None:
            headers["Authorization"] = network.facilitator_authorization.get_secret_value()
        seconds = max(CHECK_SECONDS, SETTLE_SECONDS_MIN, network.settle_timeout_seconds)
        self.endpoint = Endpoint(self.url, headers, seconds, ANSWER_BYTES_MAX)
        self.usual = {one: Deadlines(one) for one in (CHECK_SECONDS, network.settle_timeout_seconds)}
        self.crowd = crowd or Crowd()
        self.submitting = Group(self.submit_batch, crowd=self.crowd)
        self.unasked: dict[UUID, Unasked] = {}
        """Submitted here, and never sent to the facilitator by anybody."""

    async def start(self) -> None:
        """A facilitator that is down is no error here: it is asked again with each payment."""
        try:
            if self.chain is not None:
                await compare(self.chain, self.network, tuple(self.assets.values()))
            supported = await self.ask("GET", "/supported", b"", CHECK_SECONDS)
            answers.check_supported(supported, self.network.id)
        except ChainMismatch:
            raise
        except (FacilitatorUnavailable, Nonsense) as error:
            log.warning("facilitator.unavailable", network=self.network.id, reason=str(error))

    async def close(self) -> None:
        await self.submitting.close()
        for deadlines in self.usual.values():
            deadlines.close()
        await self.endpoint.close()
        if self.chain is not None:
            await self.chain.close()

    async def check(self, authorization: Authorization) -> int | None:
        # Whose wallets it deploys is not for us to say.
        undeployed.refuse(authorization)
        question = asking.question(authorization, self.network.id)
        try:
            answer = await self.ask("POST", "/verify", question, CHECK_SECONDS)
            answers.read_verdict(answer, authorization)
        except Nonsense as error:
            log.error("facilitator.nonsense", network=self.network.id, reason=str(error))
            raise FacilitatorUnavailable(f"the facilitator's answer makes no sense: {error}") from None
        return None

    async def check_again(self, authorization: Authorization) -> None:
        # It verifies again itself before it settles.
        return

    async def submit(
        self, payment_id: UUID, authorization: Authorization, usage: dict[str, Any], kept: Kept | None = None
    ) -> None:
        if not await self.submitting.add(Submitting(payment_id, usage, kept)):
            raise PaymentNotClaimed(f"payment {payment_id} is not claimed any more")
        self.unasked[payment_id] = Unasked(authorization, time.monotonic())

    async def submit_batch(self, batch: Sequence[Submitting]) -> Sequence[bool]:
        tried = [one.payment_id for one in batch if one.is_tried]
        for one in batch:
            one.is_tried = True
        answers = [one.kept for one in batch if one.kept is not None]
        usage = {one.payment_id: one.usage for one in batch}
        submitted = await payments.submit(self.pool, usage, answers)
        if tried:
            states = await payments.states(self.pool, tried)
            submitted |= {payment_id for payment_id, state in states.items() if state == "submitted"}
        return [one.payment_id in submitted for one in batch]

    async def outcome(self, payment_id: UUID, wait_seconds: float) -> Settlement:
        deadline, least = time.monotonic() + wait_seconds, 0.0 if wait_seconds else SETTLE_SECONDS_MIN
        pause = RETRY_SECONDS_MIN
        # Only the first answer to a payment may say that it failed: to a second question, a transfer that the
        # first one made looks like a nonce that is used or a balance that is gone.
        unasked = self.unasked.pop(payment_id, None)
        is_first = unasked is not None
        told = await self.first_answer(payment_id, unasked, wait_seconds or least)
        if told is not None and told.outcome == "settled" and self.chain is None:
            # Whoever books it writes down what it is called.
            return Settlement("settled", told.transaction)
        stored = await transactions.of_payment(self.pool, payment_id)
        if stored is None or stored.state in ("claimed", "void"):
            raise LookupError(f"payment {payment_id} has nothing to ask about")
        if stored.state == "settled" or stored.state == "failed":
            return Settlement(stored.state, stored.hash_text, stored.failure)
        while True:
            if told is None:
                told = await self.settle_stored(stored, max(deadline - time.monotonic(), least))
            stored = await self.named(stored, told)
            settlement = await self.weigh(stored, told, is_first=is_first)
            is_first, told = is_first and told is NOT_ASKED, None
            if settlement is not None:
                return settlement
            if deadline - time.monotonic() <= pause:
                return Settlement("pending", stored.hash_text)
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_SECONDS_MAX)

    async def recheck(self, settled: Sequence[Stored]) -> tuple[Sequence[Stored], Sequence[Stored]]:
        if self.chain is None:
            # There is nobody to ask who would know better than the answer that settled them.
            return settled, ()
        return await finality.look(self.chain, settled, self.network.final_blocks, self.again)

    async def again(self, vanished: Stored) -> Settlement | None:
        assert self.chain is not None, "only a chain can tell that something vanished"
        await self.settle_stored(vanished, SETTLE_SECONDS_MIN)
        found = await self.proven(self.chain, vanished)
        if found is not None and found.outcome == "settled":
            await payments.rename(self.pool, vanished.id, found.transaction)
        return found

    async def named(self, stored: Stored, told: Told) -> Stored:
        """Write down what it sent, before anything else: everybody after us can ask the chain about that."""
        if not told.transaction or told.transaction == stored.hash_text:
            return stored
        await payments.name_transaction(self.pool, stored.id, told.transaction)
        return replace(stored, known_hash=bytes.fromhex(told.transaction[2:]))

    async def weigh(self, stored: Stored, told: Told, *, is_first: bool) -> Settlement | None:
        """What follows from an answer; None while the outcome is not known."""
        is_failed = told.outcome == "failed" and told.is_final and is_first
        if self.chain is not None:
            proven = await self.proven(self.chain, stored)
            if proven is not None or not is_failed:
                return proven
        if told.outcome == "failed" and not is_failed:
            log.warning("facilitator.ambiguous", payment_id=str(stored.id), reason=told.failure)
        if is_failed or told.outcome == "settled":
            return Settlement(told.outcome, told.transaction, told.failure)
        return None

    async def first_answer(self, payment_id: UUID, unasked: Unasked | None, seconds: float) -> Told | None:
        """Nobody else asks for what was submitted a moment ago: how it stands is known without a look."""
        if unasked is None or time.monotonic() > unasked.known_at + UNASKED_SECONDS:
            return None
        return await self.settle(payment_id, unasked.authorization, seconds)

    async def settle_stored(self, stored: Stored, seconds: float) -> Told:
        authorization = transactions.authorized(stored, self.assets[stored.asset_id])
        return await self.settle(stored.id, authorization, seconds)

    async def settle(self, payment_id: UUID, authorization: Authorization, seconds: float) -> Told:
        try:
            question = asking.question(authorization, self.network.id)
            answer = await self.ask("POST", "/settle", question, seconds)
            return answers.read_settlement(answer, authorization)
        except Unreached as error:
            log.warning("outcome.unknown", payment_id=str(payment_id), reason=str(error))
            return NOT_ASKED
        except FacilitatorUnavailable as error:
            log.warning("outcome.unknown", payment_id=str(payment_id), reason=str(error))
        except Nonsense as error:
            log.error("facilitator.nonsense", payment_id=str(payment_id), reason=str(error))
        return answers.UNKNOWN

    async def proven(self, chain: Chain, stored: Stored) -> Settlement | None:
        """What the chain says of it, whatever the facilitator does."""
        evidence = Evidence(chain, stored, self.network.depth(stored.amount, stored.decimals))
        try:
            return await evidence.look()
        except (FacilitatorUnavailable, NodeRefused) as error:
            log.warning("outcome.unknown", payment_id=str(stored.id), reason=str(error))
            return None

    def within(self, seconds: float) -> Deadlines:
        """One timer for all who may wait for as long; whoever asks again has less time, and a timer."""
        return self.usual.get(seconds) or Deadlines(seconds)

    async def ask(self, method: str, path: str, question: bytes, seconds: float) -> Any:
        """The JSON of a 200, whatever it says; ``FacilitatorUnavailable`` for anything else."""
        # Whoever has its answer has a statement next.
        self.crowd.count += 1
        try:
            status, text = await self.endpoint.ask(method, question, path, self.within(max(seconds, 1.0)))
        except Unsent as error:
            raise Unreached(f"the facilitator cannot be reached: {error}") from None
        except Unanswered as error:
            raise FacilitatorUnavailable(f"the facilitator does not answer: {error}") from None
        finally:
            self.crowd.count -= 1
        if status != 200:
            raise FacilitatorUnavailable(f"the facilitator answered {status}")
        return answers.parse(text)
