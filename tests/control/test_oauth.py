import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID, uuid4

import pytest
from aiohttp import ClientSession

from control.api.ports import Ports
from control.oauth import exchange, rules
from gateway import connections
from gateway.auth_mode import UpstreamAuthFailed
from gateway.connections import ConnectionRequired, Connections
from gateway.kit.fetch import FetchFailed, asking
from gateway.kit.sql import Pool
from gateway.kit.ssrf import Guard
from gateway.ledger.accounts import PLATFORM
from gateway.types import Caller
from tests.authorization import CLIENT_ID, CLIENT_SECRET, Provider, authorizing
from tests.control.conftest import Client, Member, bearer, join, newer, refused_fields
from tests.control.people import log_in, person

ORIGIN = "https://gateway.example"
BACK = "http://127.0.0.1:9/done"


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with authorizing() as provider:
        yield provider


@dataclass(slots=True)
class Hub:
    """The provider as this installation knows it."""

    id: str
    client: Client
    provider: Provider

    @property
    def by_id(self) -> str:
        return f"/oauth/providers/{self.id}"

    async def start(self, at: str = "/oauth/hub", **more: Any) -> str:
        """The URL that the user's browser is sent to."""
        response = await self.client.get(
            f"{at}/authorize", params={"redirect_uri": BACK}, allow_redirects=False, **more
        )
        assert response.status == 302, await response.text()
        return response.headers["Location"]

    async def consent(self, url: str) -> str:
        """The path that the provider sends the browser back to."""
        async with ClientSession() as browser, browser.get(url, allow_redirects=False) as response:
            assert response.status == 302, await response.text()
            location = response.headers["Location"]
        assert location.startswith(ORIGIN)
        return location.removeprefix(ORIGIN)

    async def come_back(self, path: str, **more: Any) -> dict[str, str]:
        """What the browser is told in the end."""
        response = await self.client.get(path, allow_redirects=False, **more)
        assert response.status == 302, await response.text()
        assert response.headers["Location"].startswith(f"{BACK}?")
        return query_of(response.headers["Location"])

    async def connect(self) -> str:
        told = await self.come_back(await self.consent(await self.start()))
        assert told["status"] == "success", told
        return told["connection_id"]


def query_of(url: str) -> dict[str, str]:
    return {name: value for name, [value] in parse_qs(urlsplit(url).query).items()}


@pytest.fixture
async def hub(client: Client, provider: Provider) -> Hub:
    return await make_hub(client, provider)


async def make_hub(client: Client, provider: Provider, *, issuer: str | None = None, **more: Any) -> Hub:
    body: dict[str, Any] = {
        "slug": "hub", "name": "Hub", "authorization_url": f"{provider.url}/authorize?tenant=1",
        "token_url": f"{provider.url}/token", "revocation_url": f"{provider.url}/revoke",
        "userinfo_url": f"{provider.url}/profile", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET,
        "scopes": ["read", "write"],
        "custom_auth_params": {
            "access_type": "offline", "state": "not ours", "code_challenge_method": "plain",
        },
    }  # fmt: skip
    if issuer is not None:
        body["issuer"] = issuer
    response = await client.post("/organizations/default/oauth/providers", json=body, **more)
    assert response.status == 201, await response.text()
    hub = Hub((await response.json())["data"]["id"], client, provider)
    provider.client.redirect_uris = [f"{ORIGIN}/oauth/hub/callback", f"{ORIGIN}{hub.by_id}/callback"]
    return hub


async def connections_of(client: Client, **more: Any) -> list[dict[str, Any]]:
    response = await client.get("/oauth/connections", **more)
    assert response.status == 200
    found: list[dict[str, Any]] = (await response.json())["connections"]
    return found


async def test_providers_are_the_organizations_own_and_the_platforms(pool: Pool, hub: Hub) -> None:
    listed = (await (await hub.client.get("/oauth/providers")).json())["providers"]
    assert [(one["slug"], one["scopes"]) for one in listed] == [("hub", ["read", "write"])]
    assert "client_id" not in listed[0]
    other = (await join(pool)).headers
    assert (await (await hub.client.get("/oauth/providers", headers=other)).json())["providers"] == []


async def test_the_browser_is_sent_with_pkce_and_what_the_protocol_says(hub: Hub) -> None:
    sent = query_of(await hub.start())
    assert (sent["response_type"], sent["client_id"], sent["scope"]) == ("code", CLIENT_ID, "read write")
    assert (sent["code_challenge_method"], len(sent["code_challenge"])) == ("S256", 43)
    assert (sent["access_type"], sent["tenant"]) == ("offline", "1")
    assert sent["state"] != "not ours"
    assert sent["redirect_uri"] == f"{ORIGIN}/oauth/hub/callback"


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
@pytest.mark.parametrize("is_by_id", [False, True])
async def test_who_started_comes_back_connected(pool: Pool, hub: Hub, method: str, is_by_id: bool) -> None:
    hub.provider.client.method = method
    at = f"/organizations/default/oauth/providers/{hub.id}"
    assert (await hub.client.patch(at, json={"token_endpoint_auth_method": method})).status == 200
    url = await hub.start(hub.by_id if is_by_id else "/oauth/hub")
    told = await hub.come_back(await hub.consent(url))
    [one] = await connections_of(hub.client)
    assert told == {"status": "success", "connection_id": one["id"]}
    assert (one["provider_slug"], one["provider_email"], one["is_valid"]) == ("hub", "ada@example.com", True)
    assert (one["provider_user_id"], one["scopes"]) == ("user-1", ["read", "write"])
    [token] = hub.provider.tokens
    row = await pool.fetchrow("SELECT * FROM oauth_connections")
    assert row is not None
    assert token.access_token.encode() not in row["access_sealed"]
    assert token.access_token not in str(one)


async def test_who_comes_back_without_a_credential_has_to_be_confirmed_by_who_started(
    pool: Pool, hub: Hub, stranger: Client
) -> None:
    browser = replace(hub, client=stranger)
    told = await browser.come_back(await hub.consent(await hub.start()))
    assert told["status"] == "confirm"
    assert await connections_of(hub.client) == []
    assert hub.provider.tokens == []
    other = (await join(pool)).headers
    body = {"confirmation": told["confirmation"]}
    stolen = await hub.client.post("/oauth/connections", json=body, headers=other)
    assert (stolen.status, (await stolen.json())["code"]) == (400, "oauth-state-invalid")
    confirmed = await hub.client.post("/oauth/connections", json=body)
    assert confirmed.status == 201, await confirmed.text()
    assert (await confirmed.json())["data"]["provider_slug"] == "hub"
    assert (await hub.client.post("/oauth/connections", json=body)).status == 400


async def test_a_signed_in_browser_comes_back_connected(
    pool: Pool, stranger: Client, provider: Provider
) -> None:
    ada = await person(stranger, pool)
    hub = await make_hub(stranger, provider, headers=ada.headers)
    cookie = await browser(stranger)
    await person(stranger, pool, "eve@example.com")
    eves = await browser(stranger, email="eve@example.com")
    path = await hub.consent(await hub.start(headers=cookie))
    # Eve's browser does not take Ada's account to Ada's organization, nor to Eve's.
    assert (await stranger.get(path, headers=eves, allow_redirects=False)).status == 400
    assert (await hub.come_back(path, headers=cookie))["status"] == "success"
    assert len(await connections_of(stranger, headers=ada.headers)) == 1
    # A cookie that is over says nothing of who somebody is.
    path = await hub.consent(await hub.start(headers=cookie))
    over = {"Cookie": "__Host-farebox=over"}
    assert (await hub.come_back(path, headers=over))["status"] == "confirm"


async def browser(client: Client, **more: Any) -> dict[str, str]:
    response = await log_in(client, headers={"Origin": ORIGIN}, **more)
    return {"Cookie": response.headers["Set-Cookie"].partition(";")[0]}


async def test_a_state_is_good_once_for_ten_minutes_for_its_provider_and_its_user(
    pool: Pool, hub: Hub
) -> None:
    path = await hub.consent(await hub.start())
    other = (await join(pool)).headers
    elsewhere = path.replace("/oauth/hub/", f"{hub.by_id}/")
    for wrong, headers in (
        (path, other),                                      # somebody else's credential
        (elsewhere, {}),                                    # another spelling than the one it was started by
        (path.replace("state=", "state=x"), {}),
        (path.replace("/oauth/hub/", "/oauth/bub/"), {}),
    ):  # fmt: skip
        response = await hub.client.get(wrong, headers=headers, allow_redirects=False)
        assert (response.status, (await response.json())["code"]) == (400, "oauth-state-invalid")
    both = await asyncio.gather(*(hub.client.get(path, allow_redirects=False) for _ in range(5)))
    assert sorted(response.status for response in both) == [302, 400, 400, 400, 400]
    assert len(hub.provider.tokens) == 1
    late = await hub.consent(await hub.start())
    await pool.execute("UPDATE oauth_states SET created_at = now() - interval '10 minutes 1 second'")
    assert (await hub.client.get(late, allow_redirects=False)).status == 400


async def test_what_the_provider_refuses_is_told(hub: Hub) -> None:
    state = query_of(await hub.start())["state"]
    told = await hub.come_back(f"/oauth/hub/callback?state={state}&error=access_denied")
    assert told == {"status": "error", "error": "access_denied"}
    assert (await hub.client.get(f"/oauth/hub/callback?state={state}&code=x")).status == 400
    state = query_of(await hub.start())["state"]
    told = await hub.come_back(f"/oauth/hub/callback?state={state}&code=made-up")
    assert told == {"status": "error", "error": "exchange_failed"}
    assert await connections_of(hub.client) == []


@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        (f"{ORIGIN}/console/done?x=1", True),
        ("https://app.example/done", True),                  # the operator said so
        ("http://localhost:8000/", True),
        ("http://[::1]:8000/", True),
        ("https://evil.example/", False),
        ("https://gateway.example.evil.example/", False),
        ("https://gateway.example@evil.example/", False),
        ("https://evil.example\\@gateway.example/", False),
        ("http://gateway.example/", False),                  # not over TLS
        ("https://localhost/", False),
        ("javascript:alert(1)", False),
        ("//evil.example", False),
        ("/console", False),
        ("http://127.0.0.1:99999999/", False),
        ("http://[::1/", False),
        ("https://gateway.example/#f", False),
    ],
)  # fmt: skip
def test_a_browser_goes_back_to_friends_only(url: str, is_allowed: bool) -> None:
    assert rules.may_return_to(url, ORIGIN, ["https://app.example"]) is is_allowed


async def test_who_names_no_place_comes_back_to_ours(hub: Hub) -> None:
    """The URL that a refused call tells is good as it is."""
    response = await hub.client.get(f"{hub.by_id}/authorize", allow_redirects=False)
    assert response.status == 302, await response.text()
    back = await hub.client.get(await hub.consent(response.headers["Location"]), allow_redirects=False)
    assert back.headers["Location"].startswith(f"{ORIGIN}/docs?status=success&connection_id=")


async def test_a_redirect_elsewhere_and_an_unknown_provider_are_refused(pool: Pool, hub: Hub) -> None:
    elsewhere = {"redirect_uri": "https://evil.example/"}
    assert await refused_fields(await hub.client.get("/oauth/hub/authorize", params=elsewhere)) == [
        "query/redirect_uri"
    ]
    good = {"redirect_uri": BACK}
    other = (await join(pool)).headers
    for path, headers in (
        ("/oauth/nobody", {}),
        (f"/oauth/providers/{uuid4()}", {}),
        ("/oauth/hub", other),
        (hub.by_id, other),
    ):
        response = await hub.client.get(f"{path}/authorize", params=good, headers=headers)
        assert response.status == 404
    inactive = {"is_active": False}
    await hub.client.patch(f"/organizations/default/oauth/providers/{hub.id}", json=inactive)
    assert (await hub.client.get("/oauth/hub/authorize", params=good)).status == 404


async def test_connecting_again_replaces_what_there_was(hub: Hub) -> None:
    first, second = await hub.connect(), await hub.connect()
    assert first != second
    assert [one["id"] for one in await connections_of(hub.client)] == [second]


@pytest.mark.parametrize("by", ["connection", "slug", "provider"])
async def test_disconnecting_revokes_at_the_provider(pool: Pool, hub: Hub, by: str) -> None:
    named = {"connection": await hub.connect(), "slug": "hub", "provider": f"providers/{hub.id}"}
    path = f"/oauth/connections/{named[by]}"
    other = (await join(pool)).headers
    assert (await hub.client.delete(path, headers=other)).status == 404
    assert hub.provider.good_count == 1
    response = await hub.client.delete(path)
    assert response.status == 200
    if by != "provider":
        assert (await response.json()) == {"success": True, "message": "revoked at the provider"}
    assert hub.provider.good_count == 0
    assert await connections_of(hub.client) == []
    assert (await hub.client.delete(path)).status == 404


async def test_of_two_providers_with_a_slug_the_organizations_own_is_disconnected_first(
    pool: Pool, hub: Hub
) -> None:
    first = await hub.connect()
    second, elsewhere = str(uuid4()), str(uuid4())
    await pool.execute(
        """WITH copy AS (
            INSERT INTO oauth_providers SELECT (jsonb_populate_record(p, jsonb_build_object(
                'id', $1::text, 'organization_id', $3::text))).* FROM oauth_providers AS p WHERE slug = 'hub')
        INSERT INTO oauth_connections SELECT (jsonb_populate_record(c, jsonb_build_object(
            'id', $2::text, 'provider_id', $1::text))).* FROM oauth_connections AS c""",
        elsewhere, second, str(PLATFORM),
    )  # fmt: skip
    for left in ([second], []):
        assert (await hub.client.delete("/oauth/connections/hub")).status == 200
        assert [one["id"] for one in await connections_of(hub.client)] == left
    assert first != second
    for unknown in ("hub", first, "%00", "%ED%A0%80"):
        assert (await hub.client.delete(f"/oauth/connections/{unknown}")).status in (400, 404)


async def test_a_provider_that_is_away_does_not_keep_a_user_connected(pool: Pool, hub: Hub) -> None:
    connection_id = await hub.connect()
    await pool.execute("UPDATE oauth_providers SET revocation_url = 'http://127.0.0.1:1/'")
    response = await hub.client.delete(f"/oauth/connections/{connection_id}")
    assert "was not told" in (await response.json())["message"]
    assert await connections_of(hub.client) == []


@pytest.mark.parametrize(
    ("brought", "is_connected"),
    [
        ({"iss": "https://hub.example"}, True),
        ({"iss": "https://hub.example/"}, False),  # Compared as it is written.
        ({"iss": "https://elsewhere.example"}, False),
        ({}, False),
    ],
)
async def test_a_provider_that_says_who_it_is_has_to_say_it(
    client: Client, provider: Provider, brought: dict[str, str], is_connected: bool
) -> None:
    hub = await make_hub(client, provider, issuer="https://hub.example")
    path = f"{await hub.consent(await hub.start())}&{urlencode(brought)}"
    if is_connected:
        assert (await hub.come_back(path))["status"] == "success"
        return
    for code in ("oauth-issuer-mismatch", "oauth-state-invalid"):
        refused = await client.get(path, allow_redirects=False)
        assert (refused.status, (await refused.json())["code"]) == (400, code)
    assert await connections_of(client) == []


@pytest.fixture
async def kept(pool: Pool, ports: Ports) -> AsyncIterator[Connections]:
    async with asking(Guard(is_private_allowed=True)) as ask:
        yield Connections(pool, ports.keyring, ask, ORIGIN)


def caller_of(member: Member) -> Caller:
    return Caller(member.id.organization_id, None, "test", user_id=member.id.user_id)


async def test_a_token_is_renewed_once_however_many_want_it(
    pool: Pool, hub: Hub, kept: Connections, member: Member
) -> None:
    await hub.connect()
    first = hub.provider.tokens[0].access_token
    assert await kept.token(UUID(hub.id), "shop", caller_of(member)) == first
    await pool.execute("UPDATE oauth_connections SET expires_at = now()")
    hub.provider.seconds = 0.3
    # Two processes know nothing of each other but what is in the database.
    other = replace(kept)
    found = await asyncio.gather(
        *(one.token(UUID(hub.id), "shop", caller_of(member)) for one in [kept, other] * 10)
    )
    assert set(found) == {hub.provider.tokens[-1].access_token}
    assert [one["grant_type"] for one in hub.provider.asked].count("refresh_token") == 1
    # The refresh token was replaced with it, so it can be done again.
    await pool.execute("UPDATE oauth_connections SET expires_at = now()")
    await kept.token(UUID(hub.id), "shop", caller_of(member))
    assert hub.provider.good_count == 1


async def test_a_token_that_the_provider_took_back_wants_connecting_again(
    pool: Pool, hub: Hub, kept: Connections, member: Member
) -> None:
    await hub.connect()
    await pool.execute("UPDATE oauth_connections SET expires_at = now()")
    hub.provider.tokens[0].is_taken_back = True
    with pytest.raises(ConnectionRequired):
        await kept.token(UUID(hub.id), "shop", caller_of(member))
    [one] = await connections_of(hub.client)
    assert one["is_valid"] is False
    await hub.connect()
    assert await kept.token(UUID(hub.id), "shop", caller_of(member))


async def test_a_provider_that_is_away_leaves_the_connection_as_it_was(
    pool: Pool, hub: Hub, kept: Connections, member: Member
) -> None:
    await hub.connect()
    await pool.execute("UPDATE oauth_connections SET expires_at = now()")
    await pool.execute("UPDATE oauth_providers SET token_url = 'http://127.0.0.1:1/token'")
    with pytest.raises(UpstreamAuthFailed):
        await kept.token(UUID(hub.id), "shop", caller_of(member))
    await pool.execute("UPDATE oauth_providers SET token_url = $1", f"{hub.provider.url}/token")
    assert await kept.token(UUID(hub.id), "shop", caller_of(member))


@pytest.mark.parametrize("answer", [b"", b"<html>", b'"', b"[1]", b'{"access_token": "\xff"}', b"[" * 20_000])
async def test_a_provider_that_answers_nonsense_has_given_no_tokens(answer: bytes) -> None:
    async def ask(*asked: object) -> bytes:
        return answer

    client = connections.Client("http://provider.example/token", "us", "secret", "client_secret_basic")
    with pytest.raises(FetchFailed):
        await connections.grant(ask, client, {"grant_type": "refresh_token"})
    assert await exchange.whose(ask, "http://provider.example/userinfo", "token") == (None, None)


async def test_a_caller_who_hangs_up_loses_no_token(
    pool: Pool, hub: Hub, kept: Connections, member: Member
) -> None:
    await hub.connect()
    await pool.execute("UPDATE oauth_connections SET expires_at = now()")
    hub.provider.seconds = 0.3
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(kept.token(UUID(hub.id), "shop", caller_of(member)), 0.1)
    renewed = hub.provider.tokens[-1].access_token
    assert await kept.token(UUID(hub.id), "shop", caller_of(member)) == renewed


async def test_a_connection_is_one_users(pool: Pool, hub: Hub, kept: Connections, member: Member) -> None:
    await hub.connect()
    colleague = replace(caller_of(member), user_id=uuid4())
    with pytest.raises(ConnectionRequired):
        await kept.token(UUID(hub.id), "shop", colleague)


async def test_tokens_outlive_their_key(pool: Pool, hub: Hub, kept: Connections, member: Member) -> None:
    await hub.connect()
    both, only = newer(kept.keyring)
    assert (await connections.reseal(pool, both), await connections.reseal(pool, both)) == (1, 0)
    found = await replace(kept, keyring=only).token(UUID(hub.id), "shop", caller_of(member))
    assert found == hub.provider.tokens[0].access_token
    with pytest.raises(UpstreamAuthFailed):
        await kept.token(UUID(hub.id), "shop", caller_of(member))


async def test_who_may_not_connect_is_refused(pool: Pool, hub: Hub, member: Member) -> None:
    reader = await bearer(pool, member.id, ["oauth.read"])
    response = await hub.client.get("/oauth/hub/authorize", params={"redirect_uri": BACK}, headers=reader)
    assert response.status == 403
