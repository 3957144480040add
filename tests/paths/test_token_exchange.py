"""A publisher that knows its callers by tokens of its own."""

import asyncio
from typing import Any

import jwt
import pytest
from aiohttp import web

from tests.paths.conftest import DOLLAR, Account, Farebox


class Publisher:
    """An exchange that checks our word, and an API that takes only what the exchange gave."""

    def __init__(self, farebox: Farebox) -> None:
        self.farebox = farebox
        self.asked: list[web.Request] = []
        self.subjects: list[str] = []
        self.answer: Any = None
        self.revoked: set[str] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/exchange":
            return await self.exchange(request)
        token = request.headers.get("Authorization", "")
        is_good = token.startswith("Bearer own-") and token not in self.revoked
        return web.json_response({"token": token}, status=200 if is_good else 401)

    async def exchange(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        await asyncio.sleep(0.1)
        form = await request.post()
        header = request.headers.get("Authorization", "").removeprefix("Bearer ")
        word = str(form.get("subject_token") or request.query.get("subject_token") or header)
        self.subjects.append((await self.claims(word))["sub"])
        if self.answer is not None:
            return web.json_response(self.answer)
        return web.json_response(
            {"data": {"token": f"own-{len(self.asked)}"}, "access_token": f"own-{len(self.asked)}"}
        )

    async def claims(self, word: str) -> dict[str, Any]:
        async with self.farebox.session.get(f"{self.farebox.origin}/.well-known/jwks.json") as response:
            keys = jwt.PyJWKSet.from_dict(await response.json())
        key = keys[jwt.get_unverified_header(word)["kid"]]
        found: dict[str, Any] = jwt.decode(
            word, key, algorithms=["EdDSA"], audience=f"{self.farebox.upstream.url}/exchange",
            issuer=self.farebox.origin,
        )  # fmt: skip
        return found


@pytest.fixture
async def publisher(farebox: Farebox) -> Publisher:
    publisher = Publisher(farebox)
    farebox.upstream.handler = publisher.handle
    return publisher


async def funded(farebox: Farebox) -> Account:
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    return account


@pytest.mark.parametrize(
    ("fields", "method"),
    [
        ({}, "POST"),
        ({"token_exchange_mode": "body"}, "POST"),
        ({"token_exchange_mode": "query", "token_exchange_method": "GET"}, "GET"),
        ({"token_exchange_mode": "body", "token_exchange_method": "GET"}, "GET"),
        ({"token_response_field": "data.token"}, "POST"),
    ],
)
async def test_a_caller_arrives_with_the_publishers_own_token(
    farebox: Farebox, publisher: Publisher, fields: dict[str, str], method: str
) -> None:
    url = f"{farebox.upstream.url}/exchange"
    shop = await farebox.publish(token_exchange_url=url, upstream_api_key="static", **fields)
    one, other = await funded(farebox), await funded(farebox)
    asked = (farebox.agent.ask("GET", f"{shop}/x", headers=one.headers) for _ in range(3))
    replies = [
        *await asyncio.gather(*asked),
        await farebox.agent.ask("GET", f"{shop}/x", headers=other.headers),
    ]
    # One exchange for each organization, however many calls wait for it.
    assert [reply.json["token"] for reply in replies] == ["Bearer own-1"] * 3 + ["Bearer own-2"]
    assert publisher.subjects == [str(one.organization_id), str(other.organization_id)]
    assert {request.method for request in publisher.asked} == {method}
    # Nobody learns the key that spends the caller's money.
    for request in farebox.upstream.seen:
        assert one.key not in str(request.headers)
        assert one.key not in request.path_qs


async def test_a_token_that_is_taken_no_more_is_exchanged_again(
    farebox: Farebox, publisher: Publisher
) -> None:
    shop = await farebox.publish(token_exchange_url=f"{farebox.upstream.url}/exchange")
    account = await funded(farebox)
    await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)
    publisher.revoked.add("Bearer own-1")
    replies = [await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers) for _ in range(2)]
    assert [reply.status for reply in replies] == [401, 200]
    assert await farebox.balance(account) == DOLLAR // 2


@pytest.mark.parametrize(
    "answer", [{}, [], {"access_token": ""}, {"access_token": "a\r\nb"}, {"access_token": 5}]
)
async def test_an_exchange_without_a_token_costs_nothing(
    farebox: Farebox, publisher: Publisher, answer: Any
) -> None:
    publisher.answer = answer
    shop = await farebox.publish(token_exchange_url=f"{farebox.upstream.url}/exchange")
    account = await funded(farebox)
    reply = await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)
    assert (reply.status, reply.json["code"]) == (502, "upstream-auth-failed")
    assert await farebox.balance(account) == DOLLAR


async def test_who_is_nobody_to_the_publisher_is_not_asked_to_pay(
    farebox: Farebox, publisher: Publisher
) -> None:
    shop = await farebox.publish(token_exchange_url=f"{farebox.upstream.url}/exchange")
    reply = await farebox.agent.ask("GET", f"{shop}/x")
    assert (reply.status, "API key" in reply.json["detail"]) == (401, True)
