"""People in tests: signing up, reading the mail, signing in."""

import re
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientResponse

from gateway.kit.sql import Pool
from tests.control.conftest import Client

PASSWORD = "correct horse battery"
EMAIL = "ada@example.com"


@dataclass(frozen=True, slots=True)
class SignedIn:
    access: str
    refresh: str
    data: dict[str, Any]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access}"}


async def sign_up(
    client: Client, email: str = EMAIL, password: str = PASSWORD, name: str = "Ada"
) -> ClientResponse:
    return await client.post("/auth/signup", json={"email": email, "password": password, "name": name})


async def letters(pool: Pool, email: str = EMAIL) -> list[str]:
    """Oldest first, without those for nobody."""
    rows = await pool.fetch(
        "SELECT body_text FROM outbox WHERE recipient = $1 AND NOT is_decoy ORDER BY created_at, id", email
    )
    return [row["body_text"] for row in rows]


async def token(pool: Pool, kind: str, email: str = EMAIL) -> str:
    """From the last link of a kind that was mailed."""
    found = [
        match[1] for one in await letters(pool, email) for match in re.finditer(f"#{kind}=([^&\\s]+)", one)
    ]
    return found[-1]


async def log_in(client: Client, email: str = EMAIL, password: str = PASSWORD, **more: Any) -> ClientResponse:
    return await client.post("/auth/login", json={"email": email, "password": password}, **more)


async def signed_in(response: ClientResponse) -> SignedIn:
    body = await response.json()
    assert response.status == 200, body
    return SignedIn(body["data"]["access_token"], body["data"]["refresh_token"], body["data"])


async def person(client: Client, pool: Pool, email: str = EMAIL) -> SignedIn:
    """Somebody with a confirmed address."""
    assert (await sign_up(client, email)).status == 201
    word = await token(pool, "verify", email)
    return await signed_in(await client.post("/auth/verify-email", json={"token": word}))
