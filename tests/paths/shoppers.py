"""Callers who pay while everything around them is killed, and who write down what they were told."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from aiohttp import ClientError, ClientSession, ClientTimeout

from control.agent.client import Agent, Reply

# No call may hang: what a gateway waits for at most is far below.
HANGING_SECONDS = 45
PAUSE_SECONDS = 0.1


@dataclass(slots=True)
class Told:
    """What all callers were told, by the call's id where there is one."""

    answered: list[UUID] = field(default_factory=list)
    """Prepaid calls without a key of their own that were answered 200."""
    refused: dict[UUID, str] = field(default_factory=dict)
    """Prepaid calls that were not, with the status and the problem's code."""
    cut_off: int = 0
    """Prepaid calls that nobody answered: their connection broke."""
    keyed: dict[str, Reply | None] = field(default_factory=dict)
    """The last answer to each Idempotency-Key."""
    paid: dict[str, Reply | None] = field(default_factory=dict)
    """The last answer to each x402 payment."""
    bugs: list[str] = field(default_factory=list)
    hung: int = 0

    def count(self) -> Counter[str]:
        replies = [*self.keyed.values(), *self.paid.values()]
        counted = Counter("none" if one is None else code_of(one) for one in replies)
        counted["200"] += len(self.answered)
        counted["cut off"] += self.cut_off
        return counted + Counter(self.refused.values())


@dataclass(slots=True)
class Shoppers:
    url: str
    key: str
    private_key: bytes
    told: Told = field(default_factory=Told)
    is_over: bool = False

    async def ask(self, session: ClientSession, url: str, headers: dict[str, str]) -> Reply | None:
        """None when the connection broke before an answer."""
        try:
            reply = await Agent(session, self.private_key).ask("GET", url, headers=headers)
        except TimeoutError:
            self.told.hung += 1
            return None
        except (ClientError, OSError):
            await asyncio.sleep(PAUSE_SECONDS)
            return None
        if reply.status >= 500 and reply.status not in (503, 504):
            self.told.bugs.append(reply.text)
        return reply

    async def call_plainly(self) -> None:
        headers = {"Authorization": f"Bearer {self.key}"}
        async with session_of_own() as session:
            while not self.is_over:
                reply = await self.ask(session, f"{self.url}/plain", headers)
                if reply is None:
                    self.told.cut_off += 1
                elif reply.status == 200:
                    self.told.answered.append(call_id(reply))
                else:
                    self.told.refused[call_id(reply)] = code_of(reply)
                    await asyncio.sleep(PAUSE_SECONDS)

    async def call_by_key(self) -> None:
        """Each call under a key of its own, asked for again until it has an end or a while has passed."""
        async with session_of_own() as session:
            while not self.is_over:
                name = uuid4().hex
                self.told.keyed[name] = None
                for _ in range(20):
                    reply = await self.ask_by_key(session, name)
                    if self.is_enough(reply):
                        break
                    await asyncio.sleep(PAUSE_SECONDS)

    def is_enough(self, reply: Reply | None) -> bool:
        return self.is_over or (reply is not None and reply.status not in (409, 503, 504))

    async def ask_by_key(self, session: ClientSession, name: str) -> Reply | None:
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": name}
        reply = await self.ask(session, f"{self.url}/keyed", headers)
        if reply is not None:
            self.told.keyed[name] = reply
        return reply

    async def call_by_payment(self) -> None:
        """Each call with a payment of its own, sent again until it is settled or refused."""
        async with session_of_own() as session:
            while not self.is_over:
                challenge = await self.ask(session, f"{self.url}/paid", {})
                if challenge is None or challenge.status != 402:
                    await asyncio.sleep(PAUSE_SECONDS)
                    continue
                payment = Agent(session, self.private_key).sign(challenge)
                self.told.paid[payment] = None
                for _ in range(20):
                    reply = await self.ask_by_payment(session, payment)
                    if self.is_enough(reply):
                        break
                    await asyncio.sleep(PAUSE_SECONDS)

    async def ask_by_payment(self, session: ClientSession, payment: str) -> Reply | None:
        reply = await self.ask(session, f"{self.url}/paid", {"PAYMENT-SIGNATURE": payment})
        if reply is not None:
            self.told.paid[payment] = reply
        return reply

    async def ask_again(self) -> None:
        """Once more for all that nobody knows the end of: there is one now."""
        async with session_of_own() as session:
            for name in [name for name, reply in self.told.keyed.items() if not is_final(reply)]:
                await self.ask_by_key(session, name)
            for payment in [payment for payment, reply in self.told.paid.items() if not is_final(reply)]:
                await self.ask_by_payment(session, payment)


@asynccontextmanager
async def shopping(shoppers: Shoppers, plain: int, by_key: int, by_payment: int) -> AsyncIterator[None]:
    """So many callers of each kind at once, until the block is left."""
    async with asyncio.TaskGroup() as group:
        for _ in range(plain):
            group.create_task(shoppers.call_plainly())
        for _ in range(by_key):
            group.create_task(shoppers.call_by_key())
        for _ in range(by_payment):
            group.create_task(shoppers.call_by_payment())
        try:
            yield
        finally:
            shoppers.is_over = True


def session_of_own() -> ClientSession:
    session = ClientSession(timeout=ClientTimeout(total=HANGING_SECONDS))
    # aiohttp repeats what failed on a kept connection, so that one ask would be two calls.
    session._retry_connection = False
    return session


def call_id(reply: Reply) -> UUID:
    return UUID(reply.headers["X-Farebox-Call-Id"])


def code_of(reply: Reply) -> str:
    return "200" if reply.status == 200 else f"{reply.status} {reply.json.get('code', 'payment')}"


def is_final(reply: Reply | None) -> bool:
    if reply is None or reply.status in (503, 504):
        return False
    return reply.status != 409 or reply.json["code"] == "answer-not-kept"
