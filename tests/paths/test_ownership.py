"""Callers who share one upstream account, each with resources of its own."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from tests.paths.conftest import DOLLAR, Account, Farebox
from tests.waiting import until


class Things:
    """An API that gives everybody everything."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.count = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method != "POST":
            return web.json_response({"id": request.path})
        self.count += 1
        response = web.StreamResponse(status=201, headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"data": ')
        await self.go_on.wait()
        await response.write(b'{"id": "t-%d"}}' % self.count)
        return response


@pytest.fixture
async def things(farebox: Farebox) -> Things:
    things = Things()
    farebox.upstream.handler = things.handle
    return things


async def funded(farebox: Farebox) -> Account:
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    return account


async def publish(farebox: Farebox, **more: Any) -> str:
    return await farebox.publish(
        price_per_call="0.01",
        ownership_tracking_enabled=True,
        resource_id_response_path="$.data.id",
        resource_id_url_pattern="/things/:resourceId",
        **more,
    )


async def test_what_an_organization_created_is_its_own(farebox: Farebox, things: Things) -> None:
    shop = await publish(farebox, endpoints=[{"method": "GET", "path": "/things/search"}])
    one, other = await funded(farebox), await funded(farebox)

    async def ask(path: str, account: Account, method: str = "GET") -> int:
        return (await farebox.agent.ask(method, f"{shop}{path}", headers=account.headers)).status

    assert await ask("/things", one, "POST") == 201
    assert await ask("/things", other, "POST") == 201
    for path in ("/things/t-1", "/things/t-1/parts", "/THINGS/t-1", "/things;a=b/t-1", "/things/t%2D1"):
        assert (path, await ask(path, one)) == (path, 200)
        asked = len(farebox.upstream.seen)
        assert (path, await ask(path, other)) == (path, 404)
        assert len(farebox.upstream.seen) == asked
    assert await ask("/things/t-1", other, "DELETE") == 404
    assert await ask("/things/t-2", other) == 200
    # Somebody else's and nobody's are the same; a documented word is no id.
    assert await ask("/things/t-9", one) == 404
    assert await ask("/things/search", one) == 200
    assert await ask("/elsewhere/t-1", other) == 200
    # A refused call costs nothing.
    assert await farebox.balance(other) == DOLLAR - 3 * DOLLAR // 100


async def test_an_id_under_somebody_elses_thing_makes_no_thing(farebox: Farebox, things: Things) -> None:
    shop = await publish(farebox)
    one, other = await funded(farebox), await funded(farebox)
    await farebox.agent.ask("POST", f"{shop}/things", headers=one.headers)
    await farebox.agent.ask("POST", f"{shop}/things/t-1/parts", headers=one.headers)
    # The part has the id that a later thing will have.
    things.count = 1
    await farebox.agent.ask("POST", f"{shop}/things", headers=other.headers)
    assert (await farebox.agent.ask("GET", f"{shop}/things/t-2", headers=other.headers)).status == 200
    assert (await farebox.agent.ask("GET", f"{shop}/things/t-2", headers=one.headers)).status == 404


async def test_who_hangs_up_owns_what_it_created(farebox: Farebox, things: Things) -> None:
    shop = await publish(farebox)
    account = await funded(farebox)
    things.go_on.clear()
    async with farebox.session.post(f"{shop}/things", headers=account.headers) as response:
        await response.content.readany()
        response.close()
    things.go_on.set()

    async def is_owned() -> bool:
        return (await farebox.agent.ask("GET", f"{shop}/things/t-1", headers=account.headers)).status == 200

    await until(is_owned)


async def test_a_payer_without_a_name_owns_nothing_and_is_not_asked_to_pay(
    farebox: Farebox, things: Things
) -> None:
    shop = await publish(farebox)
    assert (await farebox.agent.ask("POST", f"{shop}/things")).status == 401
