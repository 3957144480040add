"""How often somebody may try, and that nobody is locked out by others."""

from dataclasses import replace
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from config.settings import Listen
from control import app
from control.api.ports import Ports
from gateway.buckets import Buckets
from gateway.kit.sql import Pool
from tests.control.conftest import Client, Member
from tests.control.people import EMAIL, PASSWORD, log_in, person, token


@pytest.fixture
def accounts() -> dict[str, Any]:
    """What a test changes in the settings."""
    return {}


@pytest.fixture
def listen() -> Listen:
    return Listen()


@pytest.fixture
async def limited(
    pool: Pool, ports: Ports, aiohttp_client: AiohttpClient, accounts: dict[str, Any], listen: Listen
) -> Client:
    settings = ports.settings
    changes = {"accounts": settings.accounts.model_copy(update=accounts), "listen": listen}
    settings = settings.model_copy(update=changes)
    return await aiohttp_client(app.create(pool, replace(ports, settings=settings, buckets=Buckets(None))))


async def statuses(client: Client, email: str, count: int, password: str = "a wrong password") -> list[int]:
    return [(await log_in(client, email, password)).status for _ in range(count)]


@pytest.mark.parametrize("accounts", [{"wrong_password_burst": 3, "wrong_passwords_per_minute": 0.01}])
async def test_guessing_from_one_address_is_stopped_alike_for_everybody(limited: Client, pool: Pool) -> None:
    await person(limited, pool)
    # The right one takes nothing.
    assert await statuses(limited, EMAIL, 5, PASSWORD) == [200] * 5
    for email in (EMAIL, "nobody@example.com"):
        assert await statuses(limited, email, 5) == [401] * 3 + [429] * 2
    response = await log_in(limited)
    assert (response.status, (await response.json())["code"]) == (429, "too-many-calls")
    assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    "accounts", [{"account_wrong_password_burst": 3, "account_wrong_passwords_per_minute": 0.01}]
)
async def test_nobody_is_locked_out_by_others(limited: Client, pool: Pool) -> None:
    ada = await person(limited, pool)
    # As if all of it came from elsewhere, where Ada never was.
    await pool.execute("UPDATE sessions SET address = '192.0.2.1'")
    assert await statuses(limited, EMAIL, 5) == [401] * 3 + [429] * 2
    assert await statuses(limited, EMAIL, 1, PASSWORD) == [429]
    # Who is signed in stays so, and a link in mail is a way in.
    assert (await limited.get("/auth/me", headers=ada.headers)).status == 200
    await limited.post("/v1/auth/sign-in/magic-link", json={"email": EMAIL})
    word = {"token": await token(pool, "magic")}
    opened = await limited.get("/v1/auth/magic-link/verify", params=word, allow_redirects=False)
    assert opened.status == 302
    # From here on it is an address that the account was signed in from.
    assert await statuses(limited, EMAIL, 1, PASSWORD) == [200]


@pytest.mark.parametrize("accounts", [{"wrong_password_burst": 2, "wrong_passwords_per_minute": 0.01}])
async def test_a_new_password_starts_anew(limited: Client, pool: Pool) -> None:
    await person(limited, pool)
    assert await statuses(limited, EMAIL, 3) == [401, 401, 429]
    await limited.post("/auth/forgot-password", json={"email": EMAIL})
    body = {"token": await token(pool, "reset"), "new_password": "another long password"}
    assert (await limited.post("/auth/reset-password", json=body)).status == 200
    assert await statuses(limited, EMAIL, 1, "another long password") == [200]


@pytest.mark.parametrize("accounts", [{"mail_burst": 3, "mails_per_hour": 0.01}])
@pytest.mark.parametrize(
    "path",
    ["/auth/forgot-password", "/auth/resend-verification", "/v1/auth/sign-in/magic-link",
     "/v1/auth/request-password-reset", "/v1/auth/send-verification-email"],
)  # fmt: skip
async def test_a_mailbox_is_not_flooded(limited: Client, pool: Pool, path: str) -> None:
    for email in (EMAIL, "nobody@example.com"):
        asked = [(await limited.post(path, json={"email": email})).status for _ in range(5)]
        assert asked == [200] * 3 + [429] * 2


@pytest.mark.parametrize("accounts", [{"login_burst": 4, "logins_per_minute": 0.01}])
async def test_trying_many_accounts_from_one_address_is_stopped(limited: Client) -> None:
    tried = [(await log_in(limited, f"a{number}@example.com")).status for number in range(6)]
    assert tried == [401] * 4 + [429] * 2


@pytest.mark.parametrize("listen", [Listen.model_validate({"trusted_proxies": ["loopback"]})])
@pytest.mark.parametrize("accounts", [{"wrong_password_burst": 3, "wrong_passwords_per_minute": 0.01}])
async def test_a_lockout_behind_a_trusted_proxy_is_one_clients(limited: Client, pool: Pool) -> None:
    await person(limited, pool)
    guesser, owner = ({"X-Forwarded-For": f"6.6.6.6, {one}"} for one in ("203.0.113.7", "203.0.113.8"))
    said = [await log_in(limited, EMAIL, "a wrong password", headers=guesser) for _ in range(5)]
    assert [one.status for one in said] == [401] * 3 + [429] * 2
    # Claiming to be somebody else does not help.
    guesser = {"X-Forwarded-For": "203.0.113.8, 203.0.113.7"}
    assert (await log_in(limited, headers=guesser)).status == 429
    assert (await log_in(limited, headers=owner)).status == 200
    known = await pool.fetch("SELECT DISTINCT ip_address FROM audit_logs WHERE action LIKE '%login%'")
    assert [row["ip_address"] for row in known] == ["203.0.113.8"]


@pytest.mark.parametrize("accounts", [{"wrong_password_burst": 3, "wrong_passwords_per_minute": 0.01}])
async def test_whoever_is_not_trusted_cannot_say_who_it_is(limited: Client, pool: Pool) -> None:
    await person(limited, pool)
    said = [
        await log_in(limited, EMAIL, "a wrong password", headers={"X-Forwarded-For": f"203.0.113.{count}"})
        for count in range(5)
    ]
    assert [one.status for one in said] == [401] * 3 + [429] * 2


async def test_v1_says_how_often_one_may_ask(
    pool: Pool, ports: Ports, aiohttp_client: AiohttpClient, member: Member
) -> None:
    limits = ports.settings.limits.model_copy(update={"address_burst": 3, "address_calls_per_second": 0.1})
    settings = ports.settings.model_copy(update={"limits": limits})
    limited = replace(ports, settings=settings, buckets=Buckets(None))
    asker: Client = await aiohttp_client(app.create(pool, limited))
    said = [await asker.get("/v1/me", headers=member.headers) for _ in range(2)]
    said += [await asker.get("/v1/me"), await asker.get("/v1/me"), await asker.get("/auth/me")]
    told = [
        (one.status, one.headers.get("X-RateLimit-Limit"), one.headers.get("X-RateLimit-Remaining"))
        for one in said
    ]
    assert told == [
        (200, "3", "2"), (200, "3", "1"), (401, "3", "0"), (429, "3", "0"), (429, None, None),
    ]  # fmt: skip
    assert 1 <= int(said[3].headers["Retry-After"]) <= 10
