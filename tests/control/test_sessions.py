"""Sessions: tokens that rotate, revocation, the browser's cookie."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.api.ports import Ports
from control.identity import tokens
from gateway.kit import crypto, ids
from gateway.kit.crypto import Keyring
from gateway.kit.sql import Pool
from tests.control.conftest import Client
from tests.control.people import PASSWORD, log_in, person, signed_in

ORIGIN = "https://gateway.example"


async def test_a_refresh_token_is_good_for_one_exchange(stranger: Client, pool: Pool) -> None:
    ada = await person(stranger, pool)
    response = await stranger.post("/auth/refresh", json={"refresh_token": ada.refresh})
    pair = (await response.json())["data"]
    assert (response.status, pair["expires_in"]) == (200, 900)
    assert pair["refresh_token"] != ada.refresh
    headers = {"Authorization": f"Bearer {pair['access_token']}"}
    assert (await stranger.get("/auth/me", headers=headers)).status == 200
    # The old one again: it is in two hands, and the session ends for both.
    assert (await stranger.post("/auth/refresh", json={"refresh_token": ada.refresh})).status == 401
    assert (await stranger.get("/auth/me", headers=headers)).status == 401
    new = {"refresh_token": pair["refresh_token"]}
    assert (await stranger.post("/auth/refresh", json=new)).status == 401


async def test_two_exchanges_at_once_end_the_session(stranger: Client, pool: Pool) -> None:
    ada = await person(stranger, pool)
    body = {"refresh_token": ada.refresh}
    responses = await asyncio.gather(*(stranger.post("/auth/refresh", json=body) for _ in range(5)))
    assert sorted(one.status for one in responses) == [200, 401, 401, 401, 401]
    assert await pool.fetchval("SELECT count(*) FROM sessions WHERE revoked_at IS NULL") == 0


@pytest.mark.parametrize("body", [{"refresh_token": ""}, {"refresh_token": "x" * 43}])
async def test_no_valid_refresh_token_is_401(stranger: Client, body: dict[str, str]) -> None:
    assert (await stranger.post("/auth/refresh", json=body)).status == 401


async def test_a_session_is_over_when_its_time_is(stranger: Client, pool: Pool) -> None:
    ada = await person(stranger, pool)
    await pool.execute("UPDATE sessions SET expires_at = now()")
    assert (await stranger.get("/auth/me", headers=ada.headers)).status == 401
    assert (await stranger.post("/auth/refresh", json={"refresh_token": ada.refresh})).status == 401


async def test_a_session_that_is_used_every_day_ends_all_the_same(stranger: Client, pool: Pool) -> None:
    ada = await person(stranger, pool)
    await pool.execute("UPDATE sessions SET created_at = now() - interval '80 days'")
    await stranger.post("/auth/refresh", json={"refresh_token": ada.refresh})
    left = await pool.fetchval("SELECT expires_at - now() FROM sessions")
    assert timedelta(days=9) < left < timedelta(days=10)


async def test_sessions_are_listed_for_their_owner(stranger: Client, pool: Pool) -> None:
    await person(stranger, pool)
    await person(stranger, pool, "bob@example.com")
    mine = await signed_in(await log_in(stranger, headers={"User-Agent": "a browser"}))
    shown = await (await stranger.get("/sessions", headers=mine.headers)).json()
    assert [(one["user_agent"], one["is_current"], one["ip_address"]) for one in shown] == [
        ("a browser", True, "127.0.0.1"),
        (shown[1]["user_agent"], False, "127.0.0.1"),
    ]


async def test_revoking_one_others_and_all(stranger: Client, pool: Pool) -> None:
    one = await person(stranger, pool)
    two, three = [await signed_in(await log_in(stranger)) for _ in range(2)]
    bob = await person(stranger, pool, "bob@example.com")

    async def works(*who: Any) -> list[bool]:
        return [(await stranger.get("/auth/me", headers=each.headers)).status == 200 for each in who]

    listed = await (await stranger.get("/sessions", headers=two.headers)).json()
    ids = {each["is_current"]: each["id"] for each in listed}
    foreign = await stranger.delete(f"/sessions/{ids[True]}", headers=bob.headers)
    assert foreign.status == 404
    assert (await stranger.post(f"/sessions/{ids[True]}/revoke-others", headers=bob.headers)).status == 404

    response = await stranger.post(f"/sessions/{ids[True]}/revoke-others", headers=two.headers)
    assert (await response.json())["data"]["revoked_count"] == 2
    assert await works(one, two, three, bob) == [False, True, False, True]
    gone = await stranger.delete(f"/sessions/{ids[False]}", headers=two.headers)
    assert gone.status == 404
    again = await signed_in(await log_in(stranger))
    deleted = await stranger.delete(f"/sessions/{ids[True]}", headers=again.headers)
    assert (await deleted.json())["data"]["revoked_count"] == 1
    everybody = await stranger.post("/sessions/revoke-all", headers=again.headers)
    assert (await everybody.json())["data"]["revoked_count"] == 1
    assert await works(two, again, bob) == [False, False, True]


async def test_logging_out_ends_every_session_and_no_key(stranger: Client, pool: Pool) -> None:
    ada = await person(stranger, pool)
    other = await signed_in(await log_in(stranger))
    made = await stranger.post("/organizations/default/api-keys", json={"name": "a"}, headers=ada.headers)
    key = {"Authorization": f"Bearer {(await made.json())['data']['api_key']}"}
    assert (await stranger.post("/auth/logout", headers=ada.headers)).status == 200
    statuses = [
        (await stranger.get("/auth/me", headers=one)).status for one in (ada.headers, other.headers, key)
    ]
    assert statuses == [401, 401, 200]
    me = await (await stranger.get("/auth/me", headers=key)).json()
    assert (me["data"]["api_key_type"], me["data"]["agent_identity_id"]) == ("user", None)


async def test_a_revoked_session_is_over_in_every_process(
    stranger: Client, pool: Pool, ports: Ports, aiohttp_client: AiohttpClient
) -> None:
    other = await aiohttp_client(app.create(pool, ports))
    ada = await person(stranger, pool)
    assert (await other.get("/auth/me", headers=ada.headers)).status == 200
    await stranger.post("/sessions/revoke-all", headers=ada.headers)
    assert (await other.get("/auth/me", headers=ada.headers)).status == 401


async def test_an_access_token_that_we_did_not_sign_is_refused(
    stranger: Client, pool: Pool, ports: Ports
) -> None:
    ada = await person(stranger, pool)
    claims = jwt.decode(ada.access, options={"verify_signature": False})
    assert set(claims) == set(tokens.REQUIRED)
    keyring = ports.keyring
    key = keyring.derive(keyring.current, tokens.PURPOSE)
    name = {"kid": keyring.current}
    past = datetime.now(UTC) - timedelta(seconds=1)
    forged = [
        jwt.encode(claims, "", "none", headers=name),
        jwt.encode(claims, "x" * 32, "HS256", headers=name),
        jwt.encode(claims, key, "HS256"),                                       # no key named
        jwt.encode(claims, key, "HS256", headers={"kid": "other"}),
        jwt.encode(claims, key + key, "HS384", headers=name),
        jwt.encode({**claims, "exp": past}, key, "HS256", headers=name),
        jwt.encode({**claims, "aud": "other"}, key, "HS256", headers=name),
        jwt.encode({**claims, "iss": "other"}, key, "HS256", headers=name),
        jwt.encode({**claims, "sid": "x"}, key, "HS256", headers=name),
        jwt.encode({one: claims[one] for one in claims if one != "jti"}, key, "HS256", headers=name),
        ada.access + "x",
        "a.b.c",
    ]  # fmt: skip
    for token in forged:
        headers = {"Authorization": f"Bearer {token}"}
        assert (await stranger.get("/auth/me", headers=headers)).status == 401, token
    assert (await stranger.get("/auth/me", headers=ada.headers)).status == 200


def test_tokens_outlive_a_new_encryption_key_and_not_the_loss_of_theirs() -> None:
    old, new = crypto.new_key("old"), crypto.new_key("new")
    bearer = tokens.Bearer(ids.new(), ids.new())
    token = tokens.issue(Keyring.parse([old]), bearer, timedelta(minutes=1))
    assert tokens.read(Keyring.parse([new, old]), token) == bearer
    assert tokens.read(Keyring.parse([new]), token) is None
    assert tokens.read(Keyring.parse([crypto.new_key("old")]), token) is None


async def browser_login(client: Client, origin: str | None) -> Any:
    return await log_in(client, headers={} if origin is None else {"Origin": origin})


@pytest.mark.parametrize(
    ("origin", "has_cookie"), [(ORIGIN, True), (None, False), ("https://evil.example", False)]
)
async def test_only_our_own_page_is_given_a_cookie(
    stranger: Client, pool: Pool, origin: str | None, has_cookie: bool
) -> None:
    await person(stranger, pool)
    header = (await browser_login(stranger, origin)).headers.get("Set-Cookie", "")
    assert header.startswith("__Host-farebox=") == has_cookie
    if has_cookie:
        assert header.endswith("; Path=/; Max-Age=7776000; HttpOnly; SameSite=Lax; Secure")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"Origin": ORIGIN}, 200),
        ({"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}, 200),
        ({}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": ORIGIN + ".evil.example"}, 403),
        ({"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_a_cookie_changes_something_from_our_own_pages_only(
    stranger: Client, pool: Pool, sent: dict[str, str], status: int
) -> None:
    await person(stranger, pool)
    cookie = (await browser_login(stranger, ORIGIN)).headers["Set-Cookie"].partition(";")[0]
    with_cookie = {"Cookie": cookie}
    assert (await stranger.get("/auth/me", headers=with_cookie)).status == 200
    response = await stranger.post("/sessions/revoke-all", headers={**with_cookie, **sent})
    assert response.status == status
    if status == 403:
        assert (await response.json())["code"] == "csrf-origin-rejected"
    assert (await stranger.get("/auth/me", headers=with_cookie)).status == (401 if status == 200 else 200)


async def test_a_bearer_token_goes_before_the_cookie(stranger: Client, pool: Pool) -> None:
    ada = await person(stranger, pool)
    cookie = (await browser_login(stranger, ORIGIN)).headers["Set-Cookie"].partition(";")[0]
    wrong = {"Cookie": cookie, "Authorization": "Bearer nonsense"}
    assert (await stranger.get("/auth/me", headers=wrong)).status == 401
    right = {"Cookie": cookie, **ada.headers}
    # No page can be made to send it, so it needs no Origin.
    assert (await stranger.post("/sessions/revoke-all", headers=right)).status == 200


@pytest.mark.parametrize(
    "cookie", ["__Host-farebox=", "__Host-farebox=x", ";;;=", "a=b; \x80", "__Host-farebox"]
)
async def test_a_cookie_that_says_nothing_is_401(stranger: Client, cookie: str) -> None:
    assert (await stranger.get("/auth/me", headers={"Cookie": cookie})).status == 401


async def test_a_browser_that_is_used_stays_signed_in(stranger: Client, pool: Pool) -> None:
    await person(stranger, pool)
    cookie = (await browser_login(stranger, ORIGIN)).headers["Set-Cookie"].partition(";")[0]
    await pool.execute(
        "UPDATE sessions SET last_active_at = now() - interval '2 days', "
        "expires_at = now() + interval '1 day'"
    )
    await stranger.get("/auth/me", headers={"Cookie": cookie})
    left = await pool.fetchval("SELECT expires_at - now() FROM sessions WHERE cookie_hash IS NOT NULL")
    assert left > timedelta(days=29)


async def test_a_password_that_was_changed_meanwhile_opens_nothing(stranger: Client, pool: Pool) -> None:
    """Signing in with the old one and changing it, at once: no session of the old one is left."""
    ada = await person(stranger, pool)
    change = {"current_password": PASSWORD, "new_password": "another long password"}
    logins = [log_in(stranger) for _ in range(4)]
    changed, *responses = await asyncio.gather(
        stranger.post("/auth/change-password", json=change, headers=ada.headers), *logins
    )
    assert changed.status == 200
    assert {one.status for one in responses} <= {200, 401}
    for one in responses:
        if one.status == 200:
            session = await signed_in(one)
            assert (await stranger.get("/auth/me", headers=session.headers)).status == 401
