"""How a publisher's upstream knows that a request is the gateway's, through the whole gateway."""

import asyncio
import json

import jwt
from aiohttp import web

from tests.paths.conftest import Farebox

SECRET = "a secret of sixty-four bytes, which is what RFC 7518 asks for HS512!"


async def headers_seen(farebox: Farebox, url: str, **headers: str) -> dict[str, str]:
    reply = await farebox.agent.ask("GET", url, headers=headers)
    assert reply.status == 200, reply.text
    return {name.lower(): value for name, value in farebox.upstream.seen[-1].headers.items()}


async def test_static_credentials_in_the_query_replace_the_callers(farebox: Farebox) -> None:
    shop = await farebox.publish(price_per_call="0", api_key_query_param="key", upstream_api_key="s3cret")
    await headers_seen(farebox, f"{shop}/x?key=forged&q=1")
    assert farebox.upstream.seen[-1].raw_path == "/x?q=1&key=s3cret"


async def test_jwt(farebox: Farebox) -> None:
    shop = await farebox.publish(
        price_per_call="0",
        auth_type="jwt",
        jwt_access_key="farebox",
        jwt_secret_key=SECRET,
        jwt_algorithm="HS512",
    )
    seen = await headers_seen(farebox, f"{shop}/x")
    token = seen["authorization"].removeprefix("Bearer ")
    assert jwt.decode(token, SECRET, algorithms=["HS512"])["iss"] == "farebox"


async def test_oauth2_client_credentials_are_fetched_once(farebox: Farebox) -> None:
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        if request.path != "/token":
            return web.json_response({})
        asked += 1
        form = await request.post()
        assert (form["grant_type"], form["client_secret"]) == ("client_credentials", SECRET)
        await asyncio.sleep(0.05)
        return web.json_response({"access_token": "t0ken", "token_type": "Bearer", "expires_in": 3600})

    farebox.upstream.handler = answer
    shop = await farebox.publish(
        price_per_call="0",
        auth_type="oauth2_cc",
        oauth2_token_url=f"{farebox.upstream.url}/token",
        oauth2_client_id="id",
        oauth2_client_secret=SECRET,
    )
    await asyncio.gather(*(farebox.agent.ask("GET", f"{shop}/x") for _ in range(20)))
    assert (await headers_seen(farebox, f"{shop}/x"))["authorization"] == "Bearer t0ken"
    assert asked == 1


async def test_a_token_endpoint_that_fails_costs_nothing_and_tells_no_secret(farebox: Farebox) -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"error": "invalid_client", "hint": SECRET}, status=401)

    farebox.upstream.handler = refuse
    shop = await farebox.publish(
        auth_type="oauth2_cc",
        oauth2_token_url=f"{farebox.upstream.url}/token",
        oauth2_client_id="id",
        oauth2_client_secret=SECRET,
    )
    account = await farebox.sign_up()
    await farebox.fund(account, 1_000_000)
    reply = await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)
    assert (reply.status, reply.json["code"]) == (502, "upstream-auth-failed")
    assert SECRET not in reply.text
    assert await farebox.balance(account) == 1_000_000


async def test_passthrough_sends_the_listed_headers_and_no_others(farebox: Farebox) -> None:
    shop = await farebox.publish(
        price_per_call="0",
        auth_type="passthrough",
        allowed_passthrough_headers=["X-Their-Key", "X-Tenant"],
        passthrough_header_rewrite={"X-Their-Key": "Authorization"},
    )
    sent = {"X-Their-Key": "Bearer theirs", "X-Tenant": "7", "X-Other": "no", "Accept": "text/csv"}
    seen = await headers_seen(farebox, f"{shop}/x", **sent)
    assert (seen["authorization"], seen["x-tenant"], seen["accept"]) == ("Bearer theirs", "7", "text/csv")
    assert not {"x-their-key", "x-other"} & seen.keys()


async def test_credentials_are_read_back_by_nobody(farebox: Farebox) -> None:
    shop = await farebox.publish(upstream_api_key=SECRET)
    listed = await farebox.agent.ask(
        "GET", f"{farebox.origin}/organizations/default/publishers", headers=farebox.publisher.headers
    )
    assert listed.json["data"][0]["slug"] == "shop"
    assert SECRET not in listed.text + (await farebox.agent.ask("GET", shop)).text
    assert SECRET not in json.dumps(str(farebox.settings))
