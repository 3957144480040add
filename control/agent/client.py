"""An agent that meets a 402: it reads the offers, signs the one it can pay, and asks again."""

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession

from control.agent.wallet import sign_payment


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def offers(self) -> list[dict[str, Any]]:
        """The x402 version 2 offers of a 402."""
        found: list[dict[str, Any]] = decode(self.headers["PAYMENT-REQUIRED"])["accepts"]
        return found

    @property
    def payment(self) -> dict[str, Any]:
        """The settlement that a paid answer came with."""
        return decode(self.headers["PAYMENT-RESPONSE"])


@dataclass(frozen=True, slots=True)
class Agent:
    session: ClientSession
    private_key: bytes

    async def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Reply:
        async with self.session.request(
            method, url, headers=headers, json=body, allow_redirects=False
        ) as response:
            return Reply(response.status, response.headers, await response.text())

    async def pay(
        self,
        method: str,
        url: str,
        challenge: Reply,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Reply:
        """Accept the first offer of a 402 and ask again."""
        payment = {"PAYMENT-SIGNATURE": self.sign(challenge)}
        return await self.ask(method, url, headers={**(headers or {}), **payment}, body=body)

    def sign(self, challenge: Reply, *, is_bound: bool = True) -> str:
        """The value of ``PAYMENT-SIGNATURE``; an unbound one does not repeat what it pays for."""
        required = decode(challenge.headers["PAYMENT-REQUIRED"])
        offer = required["accepts"][0]
        payload = sign_payment(self.private_key, offer, int(time.time()))
        bound = {"resource": required["resource"]} if is_bound else {}
        return encode({"x402Version": 2, **bound, "accepted": offer, "payload": payload})


def decode(header: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(header))
    return found


def encode(value: Mapping[str, Any]) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()
