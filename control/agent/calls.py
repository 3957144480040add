"""One call as a buyer makes it: sent, and sent again until it is known what became of its payment.

Whatever goes wrong after a payment was signed, the same payment is sent again and never another one: a
gateway tells the sender of a known payment how it stands.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from aiohttp import ClientError, ClientSession

from gateway.kit.money import to_text

PATIENCE_SECONDS = 60.0
PAUSE_SECONDS_MAX = 10.0
# What a gateway says while it does not know yet; the same payment may be sent again.
UNDECIDED = frozenset(
    {"settlement_pending", "payment-in-progress", "payments-unavailable", "upstream-payment-under-way"}
)


class NotBought(Exception):
    """Why there is no answer, in a sentence for the buyer that says whether anything was paid."""


@dataclass(frozen=True, slots=True)
class Order:
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    decimals: int
    price_max: int | None = None
    """In the token's atomic unit."""
    api_key: str | None = field(default=None, repr=False)
    private_key: bytes | None = field(default=None, repr=False)

    @property
    def bearer(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    paid_from: str = ""
    token: str = ""
    """What the wallet paid in."""
    token_upstream: str = ""
    """What it paid the publisher's own upstream in, if that asked for a payment."""

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300

    def member(self, name: str) -> Any:
        """Of a JSON body; None for one without it."""
        try:
            value = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return value.get(name) if isinstance(value, dict) else None

    @property
    def detail(self) -> str | None:
        """What a gateway says of a call that it refuses, in a line that a terminal can show."""
        said = self.member("detail") or self.member("error")
        return " ".join("".join(filter(str.isprintable, said)).split()) if isinstance(said, str) else None


async def send(session: ClientSession, order: Order, credentials: Mapping[str, str]) -> Answer:
    headers = dict(order.headers)
    if order.price_max is not None:
        # A gateway that knows it holds itself to it, even if the price rises after it was asked.
        headers["X-Max-Price"] = to_text(order.price_max, order.decimals)
    headers |= credentials
    async with session.request(
        order.method, order.url, headers=headers, data=order.body, allow_redirects=False
    ) as response:
        return Answer(response.status, response.headers, await response.read())


async def deliver(
    session: ClientSession, order: Order, payments: Mapping[str, str], paid_from: str,
    *, token: str = "", token_upstream: str = "",
) -> Answer:  # fmt: skip
    """Send signed payments until it is decided what became of them."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        answer: Answer | None = None
        try:
            answer = await send(session, order, payments)
        except (ClientError, TimeoutError):
            pause = 1.0
        else:
            if answer.member("code") not in UNDECIDED:
                return replace(answer, paid_from=paid_from, token=token, token_upstream=token_upstream)
            pause = seconds(answer.headers.get("Retry-After", ""))
        if time.monotonic() + pause > give_up:
            raise NotBought(undecided(answer))
        await asyncio.sleep(pause)


def seconds(retry_after: str) -> float:
    return min(float(retry_after), PAUSE_SECONDS_MAX) if retry_after.isdecimal() else 1.0


def undecided(answer: Answer | None) -> str:
    if answer is None:
        return "the payment was sent and the connection broke: look at the wallet before paying again"
    found = answer.member("transaction")
    where = f" in transaction {found}" if found else ""
    return f"the payment was sent and is not settled yet{where}: it may still be, so do not pay again"
