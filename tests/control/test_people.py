"""Accounts: signing up and in, passwords and the links in mail."""

import asyncio

import pytest
from argon2 import PasswordHasher

from control.identity import passwords
from gateway.kit.sql import Pool
from tests.control.conftest import Client, refused_fields
from tests.control.people import EMAIL, PASSWORD, letters, log_in, person, sign_up, signed_in, token

OTHER = "another long password"


async def test_signing_up_confirming_and_signing_in(stranger: Client, pool: Pool) -> None:
    response = await sign_up(stranger)
    assert response.status == 201
    user = (await response.json())["data"]["user"]
    assert (user["email"], user["name"], user["status"]) == (EMAIL, "Ada", "paused")

    early = await log_in(stranger)
    assert (early.status, (await early.json())["code"]) == (403, "email-unverified")

    verified = await signed_in(
        await stranger.post("/auth/verify-email", json={"token": await token(pool, "verify")})
    )
    assert verified.data["user"]["id"] == user["id"]
    again = await signed_in(await log_in(stranger, "ADA@Example.com"))
    me = (await (await stranger.get("/auth/me", headers=again.headers)).json())["data"]
    assert me["id"] == user["id"]
    assert me["default_organization_id"] == again.data["default_organization_id"]
    assert (me["api_key_id"], me["api_key_type"]) == (None, None)
    own = await (await stranger.get("/organizations", headers=again.headers)).json()
    assert [one["is_personal"] for one in own["data"]] == [True]


async def test_the_person_and_their_organization_come_together(stranger: Client, pool: Pool) -> None:
    await sign_up(stranger)
    row = await pool.fetchrow(
        "SELECT kind, email, password_hash, role, is_personal FROM users JOIN members ON user_id = users.id "
        "JOIN organizations ON organizations.id = organization_id WHERE email = $1", EMAIL
    )  # fmt: skip
    assert tuple(row or ()) == ("person", EMAIL, None, "owner", True)


async def test_nothing_that_opens_an_account_is_stored_as_it_is(stranger: Client, pool: Pool) -> None:
    ada = await person(stranger, pool)
    word = await token(pool, "verify")
    for table in ("users", "sessions", "refresh_tokens", "email_links"):
        stored = " ".join(await pool.fetchval(f"SELECT coalesce(array_agg(t::text), '{{}}') FROM {table} t"))
        assert all(secret not in stored for secret in (PASSWORD, ada.access, ada.refresh, word)), table
    assert (await pool.fetchval("SELECT password_hash FROM users WHERE email = $1", EMAIL)).startswith(
        "$argon2id$"
    )


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"email": "nobody"}, ["body/email"]),
        ({"password": "short"}, ["body/password"]),
        ({"password": "x" * 129}, ["body/password"]),
        ({"password": "ababababab"}, ["body/password"]),       # two characters
        ({"password": EMAIL}, ["body/password"]),
        ({"name": " "}, ["body/name"]),
        ({"colour": 1}, ["body/colour"]),
    ],
)  # fmt: skip
async def test_a_bad_signup_is_refused(
    stranger: Client, pool: Pool, change: dict[str, object], fields: list[str]
) -> None:
    body = {"email": EMAIL, "password": PASSWORD, "name": "Ada", **change}
    assert await refused_fields(await stranger.post("/auth/signup", json=body)) == fields
    assert await pool.fetchval("SELECT count(*) FROM outbox") == 0


async def test_a_known_address_is_answered_like_an_unknown_one(stranger: Client, pool: Pool) -> None:
    ada = await person(stranger, pool)
    answers = []
    for email in (EMAIL, "nobody@example.com"):
        signup = await sign_up(stranger, email, OTHER, "Eve")
        # Whoever just chose a password is told the same for both, and so is whoever guesses.
        right, wrong = await log_in(stranger, email, OTHER), await log_in(stranger, email, "a wrong password")
        body = await signup.json()
        user = body["data"]["user"]
        assert user.pop("email") == email
        assert user.pop("id") != ada.data["user"]["id"]
        assert user.pop("created_at")
        texts = [await one.text() for one in (right, wrong)]
        for path in ("/auth/forgot-password", "/auth/resend-verification"):
            texts.append(await (await stranger.post(path, json={"email": email})).text())
        answers.append((signup.status, body, right.status, wrong.status, texts))
    assert answers[0] == answers[1]
    assert answers[0][2:4] == (403, 401)
    # Nothing of the account was changed by it, and its owner heard of it.
    assert (await log_in(stranger)).status == 200
    assert "has an account" in (await letters(pool))[1]


async def test_an_unknown_address_takes_as_many_hashes(
    stranger: Client, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await person(stranger, pool)
    checked: list[str] = []
    real = passwords.is_match

    def count(password: str, stored: str) -> bool:
        checked.append(stored)
        return real(password, stored)

    monkeypatch.setattr(passwords, "is_match", count)
    counts = []
    for email in (EMAIL, "nobody@example.com"):
        checked.clear()
        assert (await log_in(stranger, email, "a wrong password")).status == 401
        counts.append(len(checked))
    assert counts == [2, 2]


async def test_asking_for_a_link_writes_as_much_for_nobody(stranger: Client, pool: Pool) -> None:
    await person(stranger, pool)
    count = "SELECT (SELECT count(*) FROM email_links) AS links, (SELECT count(*) FROM outbox) AS letters"
    for path in ("/auth/forgot-password", "/auth/resend-verification"):
        for email in (EMAIL, "nobody@example.com"):
            before = await pool.fetchrow(count)
            assert (await stranger.post(path, json={"email": email})).status == 200
            after = await pool.fetchrow(count)
            assert before is not None
            assert after is not None
            assert (after["links"] - before["links"], after["letters"] - before["letters"]) == (1, 1)
    assert await letters(pool, "nobody@example.com") == []


async def test_two_signups_at_once_make_one_account(stranger: Client, pool: Pool) -> None:
    responses = await asyncio.gather(*(sign_up(stranger, email) for email in [EMAIL, EMAIL.upper()] * 3))
    assert [one.status for one in responses] == [201] * 6
    assert await pool.fetchval("SELECT count(*) FROM users WHERE lower(email) = $1", EMAIL) == 1
    assert await pool.fetchval("SELECT count(*) FROM organizations WHERE name = 'Ada'") == 1


async def test_signing_up_five_times_at_once_keeps_the_password(stranger: Client, pool: Pool) -> None:
    responses = await asyncio.gather(*(sign_up(stranger) for _ in range(5)))
    assert [one.status for one in responses] == [201] * 5
    assert await pool.fetchval("SELECT count(DISTINCT password_hash) FROM email_links") == 1
    await sign_up(stranger, "bob@example.com")
    # Another address with the same password has another hash.
    assert await pool.fetchval("SELECT count(DISTINCT password_hash) FROM email_links") == 2
    await signed_in(await stranger.post("/auth/verify-email", json={"token": await token(pool, "verify")}))
    assert (await log_in(stranger)).status == 200


async def test_of_passwords_that_are_chosen_at_once_none_counts(stranger: Client, pool: Pool) -> None:
    await asyncio.gather(*(sign_up(stranger, EMAIL, one) for one in (PASSWORD, OTHER, PASSWORD)))
    for _ in range(2):
        verify = {"token": await token(pool, "verify")}
        await stranger.post("/auth/verify-email", json=verify)
    assert [(await log_in(stranger, EMAIL, one)).status for one in (PASSWORD, OTHER)] == [401, 401]


async def test_a_link_that_is_sent_again_confirms_no_stranger(stranger: Client, pool: Pool) -> None:
    await sign_up(stranger, EMAIL, "the stranger's password", "Eve")
    await sign_up(stranger)
    await stranger.post("/auth/resend-verification", json={"email": EMAIL})
    await stranger.post("/auth/verify-email", json={"token": await token(pool, "verify")})
    # Nobody can tell whose password it would be: the owner of the mailbox chooses a new one.
    assert (await log_in(stranger, EMAIL, "the stranger's password")).status == 401
    assert (await log_in(stranger)).status == 401


async def test_a_link_that_is_sent_again_works(stranger: Client, pool: Pool) -> None:
    await sign_up(stranger)
    await stranger.post("/auth/resend-verification", json={"email": EMAIL})
    await signed_in(await stranger.post("/auth/verify-email", json={"token": await token(pool, "verify")}))
    assert (await log_in(stranger)).status == 200


async def test_a_link_works_once(stranger: Client, pool: Pool) -> None:
    await sign_up(stranger)
    word = await token(pool, "verify")
    uses = await asyncio.gather(
        *(stranger.post("/auth/verify-email", json={"token": word}) for _ in range(5))
    )
    assert sorted(one.status for one in uses) == [200, 400, 400, 400, 400]
    assert await pool.fetchval("SELECT count(*) FROM sessions") == 1


async def test_an_old_link_does_not_work(stranger: Client, pool: Pool) -> None:
    await sign_up(stranger)
    await pool.execute("UPDATE email_links SET expires_at = now()")
    response = await stranger.post("/auth/verify-email", json={"token": await token(pool, "verify")})
    assert (response.status, (await response.json())["code"]) == (400, "link-expired")
    # A choice that can be confirmed no more opens nothing, and tells nothing.
    assert (await log_in(stranger)).status == 401


async def test_a_forgotten_password_is_replaced_and_everybody_is_out(stranger: Client, pool: Pool) -> None:
    ada = await person(stranger, pool)
    await stranger.post("/auth/forgot-password", json={"email": EMAIL})
    word = await token(pool, "reset")
    body = {"token": word, "new_password": OTHER}
    responses = await asyncio.gather(*(stranger.post("/auth/reset-password", json=body) for _ in range(4)))
    assert sorted(one.status for one in responses) == [200, 400, 400, 400]
    assert (await stranger.get("/auth/me", headers=ada.headers)).status == 401
    assert (await stranger.post("/auth/refresh", json={"refresh_token": ada.refresh})).status == 401
    assert (await log_in(stranger)).status == 401
    assert (await log_in(stranger, EMAIL, OTHER)).status == 200
    unknown = await stranger.post("/auth/reset-password", json={"token": "x" * 43, "new_password": OTHER})
    assert unknown.status == 404


async def test_a_reset_link_confirms_the_address_and_only_its_own_kind(stranger: Client, pool: Pool) -> None:
    await sign_up(stranger)
    await stranger.post("/auth/forgot-password", json={"email": EMAIL})
    word = await token(pool, "reset")
    assert (await stranger.post("/auth/verify-email", json={"token": word})).status == 400
    await stranger.post("/auth/reset-password", json={"token": word, "new_password": OTHER})
    assert (await log_in(stranger, EMAIL, OTHER)).status == 200
    # The link from signing up would bring its own password back.
    assert (
        await stranger.post("/auth/verify-email", json={"token": await token(pool, "verify")})
    ).status == 400


async def test_changing_a_password(stranger: Client, pool: Pool) -> None:
    ada = await person(stranger, pool)

    async def change(current: str, new: str) -> object:
        return await stranger.post(
            "/auth/change-password",
            json={"current_password": current, "new_password": new},
            headers=ada.headers,
        )

    assert await refused_fields(await change("not it at all", OTHER)) == ["body/current_password"]
    assert await refused_fields(await change(PASSWORD, "short")) == ["body/new_password"]
    assert getattr(await change(PASSWORD, OTHER), "status", None) == 200
    assert (await stranger.get("/auth/me", headers=ada.headers)).status == 401
    assert (await log_in(stranger, EMAIL, OTHER)).status == 200
    assert "was changed just now" in (await letters(pool))[-1]


async def test_an_agent_has_no_password_to_change(client: Client) -> None:
    response = await client.post(
        "/auth/change-password", json={"current_password": PASSWORD, "new_password": OTHER}
    )
    assert (response.status, (await response.json())["code"]) == (403, "password-not-set")


async def test_an_agents_address_is_nobodys(stranger: Client, pool: Pool) -> None:
    assert (await stranger.post("/auth/agent", json={"email": EMAIL})).status == 201
    await person(stranger, pool)
    assert (await log_in(stranger)).status == 200


async def test_a_hash_with_old_parameters_is_made_anew(stranger: Client, pool: Pool) -> None:
    await person(stranger, pool)
    old = "SELECT password_hash FROM users WHERE email = $1"
    weak = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    await pool.execute("UPDATE users SET password_hash = $1 WHERE email = $2", weak, EMAIL)
    assert (await log_in(stranger)).status == 200
    assert not passwords.is_outdated(await pool.fetchval(old, EMAIL))
    assert (await log_in(stranger)).status == 200


async def test_me_says_which_key_asks(client: Client) -> None:
    made = await client.post("/organizations/default/api-keys", json={"name": "a", "scopes": ["wallet.read"]})
    data = (await made.json())["data"]
    me = await client.get("/auth/me", headers={"Authorization": f"Bearer {data['api_key']}"})
    shown = (await me.json())["data"]
    assert shown["api_key_id"] == data["id"]
    assert shown["api_key_scopes"] == ["wallet.read"]
    assert shown["agent_identity_id"] == shown["id"]


async def test_a_flood_of_logins_is_told_to_come_back(
    stranger: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "WAITING_MAX", 3)
    responses = await asyncio.gather(*(log_in(stranger) for _ in range(12)))
    statuses = {one.status for one in responses}
    assert statuses == {401, 503}
    assert all("Retry-After" in one.headers for one in responses if one.status == 503)
    assert (await log_in(stranger)).status == 401


async def test_the_page_behind_links_runs_its_own_script_only(stranger: Client) -> None:
    page = await stranger.get("/auth/link")
    assert (page.status, page.headers["Referrer-Policy"]) == (200, "no-referrer")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'sha256-" in policy
    assert "unsafe-inline" not in policy.partition("style-src")[0]
