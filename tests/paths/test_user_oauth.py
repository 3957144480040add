"""A publisher that acts in its callers' own accounts somewhere else."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import ClientSession

from tests.authorization import CLIENT_ID, CLIENT_SECRET, Provider, authorizing
from tests.paths.conftest import DOLLAR, Account, Farebox

QUARTER = DOLLAR // 4


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with authorizing() as provider:
        yield provider


async def sell(farebox: Farebox, provider: Provider, **more: Any) -> str:
    body = {
        "slug": "hub", "name": "Hub", "authorization_url": f"{provider.url}/authorize",
        "token_url": f"{provider.url}/token", "revocation_url": f"{provider.url}/revoke",
        "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "scopes": ["read"],
    }  # fmt: skip
    at = f"{farebox.origin}/organizations/default/oauth/providers"
    made = await farebox.agent.ask("POST", at, headers=farebox.publisher.headers, body=body)
    assert made.status == 201, made.text
    provider.client.redirect_uris = [f"{farebox.origin}/oauth/providers/{made.json['data']['id']}/callback"]
    return await farebox.publish(requires_user_oauth=True, oauth_provider_slug="hub", **more)


async def connect(account: Account, connect_url: str) -> dict[str, Any]:
    """As a browser that shows the user's credential all the way would; returns what it ends with."""
    async with ClientSession(headers=account.headers) as session:
        ask = {"redirect_uri": "http://127.0.0.1:9/"}
        async with session.get(connect_url, params=ask, allow_redirects=False) as response:
            assert response.status == 302, await response.text()
            away = response.headers["Location"]
        async with ClientSession() as browser, browser.get(away, allow_redirects=False) as response:
            back = response.headers["Location"]
        async with session.get(back, allow_redirects=False) as response:
            assert response.status == 302, await response.text()
            return parse_qs(urlsplit(response.headers["Location"]).query)


async def test_the_upstream_is_called_with_the_callers_own_token(
    farebox: Farebox, provider: Provider
) -> None:
    shop = await sell(farebox, provider)
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    refused = await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)
    assert (refused.status, refused.json["code"]) == (403, "connection-required")
    assert await farebox.balance(account) == DOLLAR
    assert farebox.upstream.seen == []
    assert (await connect(account, refused.json["connect_url"]))["status"] == ["success"]
    # Nothing that the caller sends stands in for the token, or goes along with it.
    answered = await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)
    assert answered.status == 200, answered.text
    [seen] = farebox.upstream.seen
    [token] = provider.tokens
    assert seen.headers.getall("Authorization") == [f"Bearer {token.access_token}"]
    assert account.key not in str(seen.headers)
    assert await farebox.balance(account) == DOLLAR - QUARTER
    assert await farebox.is_sound()


async def test_callers_have_a_token_each(farebox: Farebox, provider: Provider) -> None:
    shop = await sell(farebox, provider, price_per_call="0")
    accounts = [await farebox.sign_up() for _ in range(2)]
    for account in accounts:
        refused = await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)
        await connect(account, refused.json["connect_url"])
        assert (await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)).status == 200
    sent = [one.headers["Authorization"].removeprefix("Bearer ") for one in farebox.upstream.seen]
    assert sent == [one.access_token for one in provider.tokens]
    assert len(set(sent)) == 2


async def test_whoever_only_pays_is_asked_who_they_are(farebox: Farebox, provider: Provider) -> None:
    shop = await sell(farebox, provider)
    assert (await farebox.agent.ask("GET", f"{shop}/x")).status == 401


async def test_a_call_after_disconnecting_costs_nothing(farebox: Farebox, provider: Provider) -> None:
    shop = await sell(farebox, provider)
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    refused = await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)
    [connection_id] = (await connect(account, refused.json["connect_url"]))["connection_id"]
    at = f"{farebox.origin}/oauth/connections/{connection_id}"
    assert (await farebox.agent.ask("DELETE", at, headers=account.headers)).status == 200
    assert provider.good_count == 0
    again = await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)
    assert (again.status, again.json["code"]) == (403, "connection-required")
    assert await farebox.balance(account) == DOLLAR


async def test_a_provider_that_is_away_costs_nothing(farebox: Farebox, provider: Provider) -> None:
    shop = await sell(farebox, provider)
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    refused = await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)
    await connect(account, refused.json["connect_url"])
    await farebox.pool.execute("UPDATE oauth_connections SET expires_at = now()")
    await farebox.pool.execute("UPDATE oauth_providers SET token_url = 'http://127.0.0.1:1/'")
    failed = await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)
    assert (failed.status, failed.json["code"]) == (502, "upstream-auth-failed")
    assert farebox.upstream.seen == []
    assert await farebox.balance(account) == DOLLAR
