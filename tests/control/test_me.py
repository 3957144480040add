"""The same accounts under ``/v1``."""

import base64
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.kit.sql import Pool
from tests.control.conftest import Client, refused_fields
from tests.control.people import EMAIL, PASSWORD, letters, log_in, person, token

ORIGIN = "https://gateway.example"
PAGE = {"Origin": ORIGIN}
PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()


def cookie_of(response: Any) -> dict[str, str]:
    return {"Cookie": response.headers["Set-Cookie"].partition(";")[0], **PAGE}


async def sign_in(client: Client, password: str = PASSWORD, **headers: str) -> Any:
    body = {"email": EMAIL, "password": password, "rememberMe": True}
    return await client.post("/v1/auth/sign-in/email", json=body, headers=headers)


async def test_signing_up_in_a_browser(stranger: Client, pool: Pool) -> None:
    body = {"email": EMAIL, "password": PASSWORD, "name": "Ada", "callbackURL": f"{ORIGIN}/welcome"}
    response = await stranger.post("/v1/auth/sign-up/email", json=body)
    made = await response.json()
    assert (response.status, made["token"], made["user"]["emailVerified"]) == (200, None, False)
    assert (await sign_in(stranger)).status == 403
    link = urlsplit(next(word for word in (await letters(pool))[0].split() if "/auth/link#" in word))
    given = {name: values[0] for name, values in parse_qs(link.fragment).items()}
    assert given["then"] == "/welcome"

    opened = await stranger.get(
        "/v1/auth/verify-email",
        params={"token": given["verify"], "callbackURL": "/welcome"},
        allow_redirects=False,
    )
    assert (opened.status, opened.headers["Location"]) == (302, "/welcome")
    session = await (await stranger.get("/v1/auth/get-session", headers=cookie_of(opened))).json()
    assert (session["user"]["id"], session["user"]["emailVerified"]) == (made["user"]["id"], True)
    assert session["session"]["userId"] == made["user"]["id"]
    assert len(made["user"]["id"]) == 32


async def test_signing_in_and_out(stranger: Client, pool: Pool) -> None:
    await person(stranger, pool)
    response = await sign_in(stranger)
    body = await response.json()
    assert (body["redirect"], body["user"]["email"]) == (False, EMAIL)
    as_program = {"Authorization": f"Bearer {body['token']}"}
    assert (await stranger.get("/v1/me", headers=as_program)).status == 200
    out = await stranger.post("/v1/auth/sign-out", headers=cookie_of(response))
    assert (out.status, await out.json()) == (200, {"success": True})
    assert "Max-Age=0" in out.headers["Set-Cookie"]
    gone = await stranger.get("/v1/auth/get-session", headers=cookie_of(response))
    assert (gone.status, await gone.json()) == (200, None)


async def test_another_sites_page_signs_nobody_in(stranger: Client, pool: Pool) -> None:
    await person(stranger, pool)
    response = await sign_in(stranger, Origin="https://evil.example")
    assert (response.status, "Set-Cookie" in response.headers) == (403, False)


async def test_a_magic_link_signs_in_once(stranger: Client, pool: Pool) -> None:
    await person(stranger, pool)
    asked = [
        await stranger.post("/v1/auth/sign-in/magic-link", json={"email": email, "callbackURL": "/"})
        for email in (EMAIL, "nobody@example.com")
    ]
    assert [(one.status, await one.json()) for one in asked] == [(200, {"status": True})] * 2
    word = {"token": await token(pool, "magic")}
    first = await stranger.get("/v1/auth/magic-link/verify", params=word, allow_redirects=False)
    assert first.status == 302
    assert (await stranger.get("/v1/me", headers=cookie_of(first))).status == 200
    again = await stranger.get("/v1/auth/magic-link/verify", params=word, allow_redirects=False)
    assert again.status == 400


@pytest.mark.parametrize(
    "url",
    ["https://evil.example/", f"{ORIGIN}.evil.example/", "//evil.example", "/\\evil.example",
     "javascript:alert(1)", "evil", "/a\nb", f"{ORIGIN}@evil.example"],
)  # fmt: skip
async def test_no_link_leads_elsewhere(stranger: Client, url: str) -> None:
    body = {"email": EMAIL, "callbackURL": url}
    response = await stranger.post("/v1/auth/sign-in/magic-link", json=body)
    assert await refused_fields(response) == ["body/callbackURL"]


@pytest.mark.parametrize("path", ["request-password-reset", "forget-password"])
async def test_resetting_a_password(stranger: Client, pool: Pool, path: str) -> None:
    await person(stranger, pool)
    asked = await stranger.post(f"/v1/auth/{path}", json={"email": EMAIL, "redirectTo": "/"})
    assert asked.status == 200
    body = {"token": await token(pool, "reset"), "newPassword": "another long password"}
    assert (await stranger.post("/v1/auth/reset-password", json=body)).status == 200
    assert (await sign_in(stranger, "another long password")).status == 200


async def test_changing_a_password(stranger: Client, pool: Pool) -> None:
    await person(stranger, pool)
    cookie = cookie_of(await sign_in(stranger))
    body = {"currentPassword": "not the password", "newPassword": "another long password"}
    wrong = await stranger.post("/v1/auth/change-password", json=body, headers=cookie)
    assert await refused_fields(wrong) == ["body/currentPassword"]
    right = {**body, "currentPassword": PASSWORD}
    assert (await stranger.post("/v1/auth/change-password", json=right, headers=cookie)).status == 200
    assert (await log_in(stranger, EMAIL, "another long password")).status == 200


async def test_no_provider_is_configured(stranger: Client) -> None:
    response = await stranger.post("/v1/auth/sign-in/social", json={"provider": "github"})
    assert (response.status, (await response.json())["code"]) == (503, "not_configured")


async def test_a_token_for_a_command_line_is_a_session(stranger: Client, pool: Pool) -> None:
    ada = await person(stranger, pool)
    response = await stranger.post("/v1/auth/cli-token", headers=ada.headers)
    with_token = {"Authorization": f"Bearer {(await response.json())['token']}"}
    assert (await stranger.get("/v1/me", headers=with_token)).status == 200
    await stranger.post("/sessions/revoke-all", headers=ada.headers)
    assert (await stranger.get("/v1/me", headers=with_token)).status == 401


async def test_a_key_makes_no_tokens(client: Client) -> None:
    response = await client.post("/v1/auth/cli-token")
    assert (response.status, (await response.json())["code"]) == (403, "session_needed")
    assert await (await client.get("/v1/auth/get-session")).json() is None


async def test_the_profile(stranger: Client, pool: Pool) -> None:
    ada = await person(stranger, pool)
    shown = await (await stranger.get("/v1/me", headers=ada.headers)).json()
    assert (shown["name"], shown["email"], shown["image"]) == ("Ada", EMAIL, None)
    assert shown["lastSignIn"] is not None
    response = await stranger.patch("/v1/me", json={"name": "Ada L."}, headers=ada.headers)
    assert (await response.json())["name"] == "Ada L."
    kept = await stranger.patch("/v1/me", json={"name": None}, headers=ada.headers)
    assert (await kept.json())["name"] == "Ada L."


@pytest.mark.parametrize(
    ("data_uri", "status"),
    [
        (PNG, 200),
        ("data:image/svg+xml;base64,PHN2Zy8+", 400),
        ("data:image/png;base64,aGVsbG8=", 400),          # not what it says
        ("data:image/png;base64,a", 400),
        ("https://example.com/a.png", 400),
        ("data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(262_144)).decode(), 413),
    ],
)  # fmt: skip
async def test_a_picture(stranger: Client, pool: Pool, data_uri: str, status: int) -> None:
    ada = await person(stranger, pool)
    response = await stranger.post("/v1/me/avatar", json={"dataUri": data_uri}, headers=ada.headers)
    assert response.status == status
    shown = (await (await stranger.get("/auth/me", headers=ada.headers)).json())["data"]
    assert shown["avatar_url"] == (PNG if status == 200 else None)
    await stranger.delete("/v1/me/avatar", headers=ada.headers)
    assert (await (await stranger.get("/v1/me", headers=ada.headers)).json())["image"] is None
