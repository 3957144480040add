"""Connecting an account at npm's oidc-provider, which was written without any knowledge of this gateway."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from aiohttp import ClientSession, DummyCookieJar, web

from tests.anvil import Missing, free_port
from tests.paths.conftest import DOLLAR, Account, Farebox

HERE = Path(__file__).with_name("oidc")
CLIENT_ID, CLIENT_SECRET = "farebox", "a-secret-of-some-length/with+signs"
START_SECONDS = 20


def install() -> None:
    """What the lock file names, unless it is there."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise Missing("node and npm are not installed")
    wanted = (HERE / "package-lock.json").read_text()
    installed = HERE / "node_modules" / "installed.json"
    if installed.is_file() and installed.read_text() == wanted:
        return
    # Nothing that is installed may run a script of its own.
    flags = ["--ignore-scripts", "--no-audit", "--no-fund"]
    run = subprocess.run([npm, "ci", *flags], cwd=HERE, capture_output=True, text=True, timeout=100)
    if run.returncode != 0:
        raise Missing(f"npm ci failed: {run.stderr[-500:]}")
    installed.write_text(wanted)


@asynccontextmanager
async def authorizing(port: int, redirect_uri: str) -> AsyncIterator[None]:
    client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_uris": [redirect_uri]}
    process = await asyncio.create_subprocess_exec(
        "node", HERE / "server.mjs", str(port), json.dumps(client),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            assert await process.stdout.readline() == b"ready\n"
        yield
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def register(farebox: Farebox, issuer: str) -> str:
    """Returns the provider's id."""
    body = {
        "slug": "oidc", "name": "OIDC", "authorization_url": f"{issuer}/auth", "token_url": f"{issuer}/token",
        "revocation_url": f"{issuer}/token/revocation", "userinfo_url": f"{issuer}/me",
        "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "scopes": ["openid", "email"],
        "token_endpoint_auth_method": "client_secret_basic",
    }  # fmt: skip
    at = f"{farebox.origin}/organizations/default/oauth/providers"
    made = await farebox.agent.ask("POST", at, headers=farebox.publisher.headers, body=body)
    assert made.status == 201, made.text
    return str(made.json["data"]["id"])


async def connect(farebox: Farebox, account: Account, connect_url: str) -> str:
    """As a browser, which is signed in at the gateway and gets cookies from the provider. Returns the
    connection's id.
    """
    async with ClientSession(cookie_jar=DummyCookieJar(), headers=account.headers) as own:
        ask = {"redirect_uri": "http://127.0.0.1:9/"}
        async with own.get(connect_url, params=ask, allow_redirects=False) as response:
            where = response.headers["Location"]
        # Cookies of a host that has no name but an address.
        cookies: dict[str, str] = {}
        async with ClientSession(cookie_jar=DummyCookieJar()) as browser:
            while not where.startswith(farebox.origin):
                async with browser.get(where, cookies=cookies, allow_redirects=False) as response:
                    assert response.status in (302, 303), await response.text()
                    cookies |= {name: one.value for name, one in response.cookies.items()}
                    where = urljoin(where, response.headers["Location"])
        async with own.get(where, allow_redirects=False) as response:
            assert response.status == 302, await response.text()
            said = parse_qs(urlsplit(response.headers["Location"]).query)
    assert said["status"] == ["success"], said
    return said["connection_id"][0]


async def test_an_account_at_oidc_provider_is_connected_used_renewed_and_revoked(farebox: Farebox) -> None:
    try:
        await asyncio.to_thread(install)
    except Missing as reason:
        pytest.skip(str(reason))
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    provider_id = await register(farebox, issuer)
    callback = f"{farebox.origin}/oauth/providers/{provider_id}/callback"
    tokens: list[str] = []

    async def whose(request: web.Request) -> web.StreamResponse:
        """The upstream asks the provider whose token it was sent, as a real one does."""
        tokens.append(request.headers["Authorization"])
        sent = {"Authorization": tokens[-1]}
        async with ClientSession() as session, session.get(f"{issuer}/me", headers=sent) as response:
            return web.json_response(await response.json(), status=response.status)

    farebox.upstream.handler = whose
    async with authorizing(port, callback):
        shop = await farebox.publish(requires_user_oauth=True, oauth_provider_slug="oidc")
        account = await farebox.sign_up()
        await farebox.fund(account, DOLLAR)

        async def call() -> Any:
            return await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)

        refused = await call()
        assert (refused.status, refused.json["code"]) == (403, "connection-required")
        connection_id = await connect(farebox, account, refused.json["connect_url"])
        answered = await call()
        assert (answered.status, answered.json["sub"]) == (200, "ada"), answered.text
        at = f"{farebox.origin}/oauth/connections"
        listed = await farebox.agent.ask("GET", at, headers=account.headers)
        [shown] = listed.json["connections"]
        assert (shown["id"], shown["provider_email"]) == (connection_id, "ada@example.com")

        # Renewed with a refresh token that the provider takes once.
        for _ in range(2):
            await farebox.pool.execute("UPDATE oauth_connections SET expires_at = now()")
            assert (await call()).status == 200
        assert len(set(tokens)) == 3

        gone = await farebox.agent.ask("DELETE", f"{at}/{connection_id}", headers=account.headers)
        assert gone.status == 200, gone.text
        assert (await call()).status == 403
        async with farebox.session.get(f"{issuer}/me", headers={"Authorization": tokens[-1]}) as response:
            assert response.status == 401
    assert await farebox.balance(account) == DOLLAR // 4
    assert await farebox.is_sound()
