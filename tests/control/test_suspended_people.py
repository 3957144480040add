"""Accounts that the operator suspends, and what is counted of signing in."""

import asyncio
from dataclasses import replace
from uuid import UUID, uuid4

from prometheus_client import REGISTRY
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.api.ports import Ports
from control.bootstrap import ensure_operator
from gateway.kit.sql import Pool
from gateway.ledger.accounts import PLATFORM
from tests.control.conftest import Client
from tests.control.people import EMAIL, log_in, person, sign_up, token


async def operator(pool: Pool) -> dict[str, str]:
    return {"Authorization": f"Bearer {await ensure_operator(pool)}"}


async def test_a_suspended_person_is_out_everywhere_until_they_may_act_again(
    stranger: Client, pool: Pool
) -> None:
    by = await operator(pool)
    ada = await person(stranger, pool)
    made = await stranger.post("/organizations/default/api-keys", json={"name": "k"}, headers=ada.headers)
    key = {"Authorization": f"Bearer {(await made.json())['data']['api_key']}"}
    await stranger.post("/v1/auth/sign-in/magic-link", json={"email": EMAIL})
    link = await token(pool, "magic")
    at = f"/platform/users/{ada.data['user']['id']}"
    said = (await (await stranger.patch(at, json={"is_suspended": True}, headers=by)).json())["data"]
    assert (said["status"], said["email"]) == ("disabled", EMAIL)
    assert said["suspended_at"] is not None

    for headers in (ada.headers, key):
        assert (await stranger.get("/auth/me", headers=headers)).status == 401
    assert (await stranger.post("/auth/refresh", json={"refresh_token": ada.refresh})).status == 401
    refused = await log_in(stranger)
    assert (refused.status, (await refused.json())["code"]) == (403, "account-suspended")
    opened = await stranger.get(f"/v1/auth/magic-link/verify?token={link}", allow_redirects=False)
    assert (opened.status, (await opened.json())["code"]) == (403, "account_suspended")
    # Whoever does not know the password learns nothing.
    assert (await log_in(stranger, password="a wrong password")).status == 401

    await stranger.patch(at, json={"is_suspended": False}, headers=by)
    assert (await stranger.get("/auth/me", headers=key)).status == 200
    assert (await stranger.get("/auth/me", headers=ada.headers)).status == 401
    assert (await log_in(stranger)).status == 200


async def test_operators_suspend_neither_themselves_nor_nobody(stranger: Client, pool: Pool) -> None:
    by = await operator(pool)
    ada = await person(stranger, pool)
    for user_id in (PLATFORM, uuid4()):
        refused = await stranger.patch(f"/platform/users/{user_id}", json={"is_suspended": True}, headers=by)
        assert refused.status == 404
    mine = f"/platform/users/{ada.data['user']['id']}"
    assert (await stranger.patch(mine, json={"is_suspended": True}, headers=ada.headers)).status == 403
    await pool.execute(
        "INSERT INTO members (organization_id, user_id, role) VALUES ($1, $2, 'owner')",
        PLATFORM,
        UUID(ada.data["user"]["id"]),
    )
    await pool.execute(
        "DELETE FROM members WHERE user_id = $1 AND organization_id <> $2",
        UUID(ada.data["user"]["id"]),
        PLATFORM,
    )
    assert (await stranger.patch(mine, json={"is_suspended": True}, headers=ada.headers)).status == 404


async def test_asking_for_the_head_of_a_link_opens_nothing(stranger: Client, pool: Pool) -> None:
    assert (await sign_up(stranger)).status == 201
    at = f"/v1/auth/verify-email?token={await token(pool, 'verify')}"
    assert (await stranger.head(at, allow_redirects=False)).status == 405
    assert (await stranger.get(at, allow_redirects=False)).status == 302


async def test_links_in_mail_are_in_the_audit_log(stranger: Client, pool: Pool) -> None:
    assert (await sign_up(stranger)).status == 201
    at = f"/v1/auth/verify-email?token={await token(pool, 'verify')}"
    assert (await stranger.get(at, allow_redirects=False)).status == 302
    assert (await log_in(stranger)).status == 200
    rows = await pool.fetch(
        "SELECT action, actor_id, organizations.is_personal FROM audit_logs "
        "LEFT JOIN organizations ON organizations.id = organization_id ORDER BY audit_logs.id"
    )
    shown = [(row["action"], row["actor_id"] is not None, row["is_personal"]) for row in rows]
    assert shown[1:] == [("auth.verify_email_link", True, True), ("login", True, True)]


async def test_attempts_to_sign_in_are_counted_by_what_came_of_them(stranger: Client, pool: Pool) -> None:
    def counted(outcome: str) -> float:
        return REGISTRY.get_sample_value("farebox_logins_total", {"outcome": outcome}) or 0

    outcomes = ("password", "link", "wrong", "unverified")
    before = {outcome: counted(outcome) for outcome in outcomes}
    await sign_up(stranger)
    await log_in(stranger)
    await stranger.post("/auth/verify-email", json={"token": await token(pool, "verify")})
    await log_in(stranger)
    await log_in(stranger, password="a wrong password")
    await log_in(stranger, email="nobody@example.com")
    grown = {outcome: counted(outcome) - before[outcome] for outcome in outcomes}
    assert grown == {"password": 1, "link": 1, "wrong": 2, "unverified": 1}


async def test_somebody_makes_so_many_teams_and_no_more(
    pool: Pool, ports: Ports, aiohttp_client: AiohttpClient
) -> None:
    settings = ports.settings.model_copy(
        update={"accounts": ports.settings.accounts.model_copy(update={"teams_per_user_max": 2})}
    )
    client = await aiohttp_client(app.create(pool, replace(ports, settings=settings)))
    ada = await person(client, pool)

    async def make(number: int) -> int:
        body = {"name": f"Team {number}"}
        return (await client.post("/v1/orgs", json=body, headers=ada.headers)).status

    # At once: none of them counts before another has written.
    statuses = await asyncio.gather(*(make(number) for number in range(6)))
    assert sorted(statuses) == [200, 200, 409, 409, 409, 409]
    listed = (await (await client.get("/v1/me/orgs", headers=ada.headers)).json())["orgs"]
    team = next(one for one in listed if not one["personal"])
    assert (await client.delete(f"/v1/orgs/{team['id']}", headers=ada.headers)).status == 200
    assert await make(7) == 200
