"""What strangers tried on people's accounts, their mailboxes and what guards them."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.api.ports import Ports
from control.identity import people
from control.mail import outbox
from control.mail.letters import Letter
from gateway.buckets import Buckets
from gateway.kit.sql import Pool
from tests.control import test_mail as smtp
from tests.control.conftest import Client, Member, bearer, join
from tests.control.people import EMAIL, PASSWORD, letters, log_in, person, sign_up, token
from tests.control.test_mail import DAY

THEIRS = "the stranger's password"


async def links(pool: Pool, kind: str) -> list[str]:
    """The words of every such link that was mailed, oldest first."""
    return [found for one in await letters(pool) for found in re.findall(rf"#{kind}=([^&\s]+)", one)]


@pytest.mark.parametrize("order", [(PASSWORD, THEIRS), (THEIRS, PASSWORD)])
@pytest.mark.parametrize("opened", [0, 1])
async def test_no_link_confirms_a_password_while_another_was_chosen(
    stranger: Client, pool: Pool, order: Sequence[str], opened: int
) -> None:
    """Two letters alike are in the mailbox, and its owner opens either."""
    for password in order:
        await sign_up(stranger, EMAIL, password)
    word = (await links(pool, "verify"))[opened]
    assert (await stranger.post("/auth/verify-email", json={"token": word})).status == 200
    assert [(await log_in(stranger, EMAIL, one)).status for one in order] == [401, 401]
    # The owner of the mailbox chooses.
    reset = {"token": await token(pool, "reset"), "new_password": "chosen by Ada herself"}
    assert (await stranger.post("/auth/reset-password", json=reset)).status == 200
    assert (await log_in(stranger, EMAIL, "chosen by Ada herself")).status == 200


async def test_whoever_signs_up_twice_with_one_password_has_it(stranger: Client, pool: Pool) -> None:
    for _ in range(2):
        await sign_up(stranger)
    for word in (await links(pool, "verify"))[:1]:
        assert (await stranger.post("/auth/verify-email", json={"token": word})).status == 200
    assert (await log_in(stranger)).status == 200


async def test_a_letter_that_was_asked_for_late_confirms_no_stranger(stranger: Client, pool: Pool) -> None:
    """The owner's own link is over, so that the stranger's claim is the only one that is open."""
    await sign_up(stranger)
    await pool.execute("UPDATE email_links SET expires_at = now() - interval '1 second'")
    await sign_up(stranger, EMAIL, THEIRS)
    await stranger.post("/auth/resend-verification", json={"email": EMAIL})
    await stranger.post("/auth/verify-email", json={"token": await token(pool, "verify")})
    assert (await log_in(stranger, EMAIL, THEIRS)).status == 401


# To some programs these are other addresses, or several; Python's own parser raises at others.
ODD = [
    "a,ada@example.com", "a;ada@example.com", "ada@example.com,b@example.org",
    "(ada@example.com)x@example.com",
    '"ada"@example.com', "a:ada@example.com", "=?utf-8?q?a?=@example.com", "ada@[example.com",
    "ada@example..com", "a`da@example.com", "a\\da@example.com", "ada\u200b@example.com",
    "ada@exam\u202eple.com",
    "ada\u2028@example.com", "ada@example.com\u0085",
    # Postgres knows the small form of these, Python does not: one account would be two, and an answer a 500.
    "\ua7cb@example.com", "ada@\u1c89.com",
]  # fmt: skip


@pytest.mark.parametrize("email", ODD)
async def test_an_address_is_one_mailbox(client: Client, email: str) -> None:
    new = {"email": email, "password": PASSWORD, "name": "Ada"}
    for path in ("/auth/signup", "/v1/auth/sign-up/email"):
        assert (await client.post(path, json=new)).status == 400
    invited = await client.post("/organizations/default/invites", json={"email": email})
    assert invited.status == 400
    assert (await client.post("/auth/agent", json={"email": email})).status in (201, 400)


@pytest.mark.parametrize(
    "name", ["=?utf-8?q?=0d=0aBcc:_eve@example.com=0d=0a=0d=0aHi?=", "a\u2028b", "a\x85Bcc: b"]
)
async def test_a_name_in_a_subject_makes_no_header(pool: Pool, name: str) -> None:
    letter = Letter(f"You are invited to {name}", "Hello,", "come.", "Bye.")
    await outbox.post(pool, EMAIL, letter, DAY)
    mailbox = smtp.Mailbox()
    async with smtp.serving(mailbox) as port:
        assert await smtp.deliver(pool, smtp.plain(port)) == 1
    (got,) = mailbox.received
    assert got["Bcc"] is None
    assert got["To"] == EMAIL
    assert got["Subject"].strip().startswith("You are invited to ")


async def test_a_letter_that_cannot_be_written_keeps_none_waiting(pool: Pool) -> None:
    """An address that an older version let in, say."""
    for recipient in ("~/}'|xn--@[&|.b", EMAIL):
        await outbox.post(pool, recipient, smtp.LETTER, DAY)
    mailbox = smtp.Mailbox()
    async with smtp.serving(mailbox) as port:
        await smtp.deliver(pool, smtp.plain(port))
    assert [one["To"] for one in mailbox.received] == [EMAIL]
    assert await pool.fetchval("SELECT count(*) FROM outbox WHERE failed_at IS NOT NULL") == 1


@pytest.fixture
async def limited(pool: Pool, ports: Ports, member: Member, aiohttp_client: AiohttpClient) -> Client:
    accounts = ports.settings.accounts.model_copy(update={"mail_burst": 3, "mails_per_hour": 0.01})
    settings = ports.settings.model_copy(update={"accounts": accounts})
    ports = replace(ports, buckets=Buckets(None), settings=settings)
    return await aiohttp_client(app.create(pool, ports), headers=member.headers)


async def test_nobody_uses_up_the_letters_that_let_an_owner_in(limited: Client, pool: Pool) -> None:
    await person(limited, pool)
    for path in ("/auth/signup", "/auth/resend-verification", "/v1/auth/sign-in/magic-link"):
        body = (
            {"email": EMAIL, "password": THEIRS, "name": "Eve"}
            if path == "/auth/signup"
            else {"email": EMAIL}
        )
        for _ in range(5):
            await limited.post(path, json=body)
    assert (await limited.post("/auth/forgot-password", json={"email": EMAIL})).status == 200


@pytest.mark.parametrize("path", ["/organizations/default/invites", "/v1/orgs/default/invitations"])
async def test_invitations_are_no_way_to_send_mail_to_strangers(limited: Client, path: str) -> None:
    to_one = [(await limited.post(path, json={"email": EMAIL})).status for _ in range(5)]
    assert [one < 300 for one in to_one] == [True] * 3 + [False] * 2
    to_many = [(await limited.post(path, json={"email": f"p{n}@example.com"})).status for n in range(30)]
    assert sum(one < 300 for one in to_many) == 27
    assert to_many[-1] == 429


async def rows(pool: Pool, action: str) -> list[dict[str, Any]]:
    found = await pool.fetch(
        "SELECT status, action_category, organization_id, actor_id FROM audit_logs WHERE action = $1", action
    )
    return [dict(one) for one in found]


async def test_signing_in_is_in_the_audit_log_of_who_did(stranger: Client, pool: Pool) -> None:
    who = await person(stranger, pool)
    await log_in(stranger)
    await stranger.post("/v1/auth/sign-in/magic-link", json={"email": EMAIL})
    magic = {"token": await token(pool, "magic")}
    # What looks at mail for its owner uses nothing up.
    assert (await stranger.head("/v1/auth/magic-link/verify", params=magic)).status == 405
    arrived = await stranger.get("/v1/auth/magic-link/verify", params=magic, allow_redirects=False)
    assert arrived.status == 302
    home = who.data["default_organization_id"]
    seen = await stranger.get(f"/organizations/{home}/audit-logs", headers=who.headers)
    told = {one["action"]: one["action_category"] for one in (await seen.json())["data"]["data"]}
    assert told["login"] == told["verify_email"] == told["auth.verify_magic_link"] == "create"


@pytest.mark.parametrize("path", ["/auth/login", "/v1/auth/sign-in/email"])
async def test_a_wrong_password_is_told_to_the_owner_and_to_nobody_else(
    stranger: Client, pool: Pool, path: str
) -> None:
    who = await person(stranger, pool)
    answers = [
        await stranger.post(path, json={"email": email, "password": "not the password"})
        for email in (EMAIL, "nobody@example.com")
    ]
    assert len({(one.status, await one.text()) for one in answers}) == 1
    home = who.data["default_organization_id"]
    seen = await stranger.get(
        f"/organizations/{home}/audit-logs", params={"status": "failure"}, headers=who.headers
    )
    [told] = (await seen.json())["data"]["data"]
    assert (told["actor_type"], told["actor_id"]) == ("anonymous", None)
    assert (told["resource_id"], told["ip_address"]) == (who.data["user"]["id"], "127.0.0.1")
    assert "not the password" not in str(told)
    # As much was written for the address that nobody has.
    assert await pool.fetchval("SELECT count(*) FROM audit_logs WHERE status = 'failure'") == 2


async def test_who_signs_in_while_suspended_is_in_their_own_log(stranger: Client, pool: Pool) -> None:
    who = await person(stranger, pool)
    await pool.execute("UPDATE users SET suspended_at = now()")
    assert (await log_in(stranger)).status == 403
    [denied] = [one for one in await rows(pool, "login") if one["status"] == "denied"]
    assert str(denied["organization_id"]) == who.data["default_organization_id"]


async def test_a_refresh_token_that_comes_twice_is_in_the_audit_log(stranger: Client, pool: Pool) -> None:
    who = await person(stranger, pool)
    body = {"refresh_token": who.refresh}
    answers = await asyncio.gather(*(stranger.post("/auth/refresh", json=body) for _ in range(4)))
    assert sorted(one.status for one in answers) == [200, 401, 401, 401]
    failed = [one for one in await rows(pool, "refresh_token") if one["status"] == "failure"]
    assert [str(one["organization_id"]) for one in failed] == [who.data["default_organization_id"]]


async def test_whoever_is_removed_comes_back_by_no_invitation_of_theirs(
    client: Client, stranger: Client, pool: Pool, member: Member
) -> None:
    eve = await join(pool)
    await pool.execute(
        "INSERT INTO members (organization_id, user_id, role) VALUES ($1, $2, 'admin')",
        member.id.organization_id, eve.id.user_id,
    )  # fmt: skip
    other = replace(eve.id, organization_id=member.id.organization_id)
    hers = await bearer(pool, other)
    invited = await stranger.post(
        "/organizations/default/invites", json={"email": "second@example.com", "role": "admin"}, headers=hers
    )
    assert invited.status == 201
    removed = await client.delete(f"/organizations/default/members/{eve.id.user_id}")
    assert removed.status == 204
    second = await people.create(pool, "person", "Second", "second@example.com")
    words = await letters(pool, "second@example.com")
    word = re.findall(r"#invite=(\S+)", words[-1])[0]
    accepted = await stranger.post(
        "/auth/accept-invite", json={"token": word}, headers=await bearer(pool, second)
    )
    assert accepted.status == 400
