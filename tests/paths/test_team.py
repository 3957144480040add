"""A team, from the first letter to the audit log: every step over HTTP, mail and webhooks included."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from aiohttp import ClientSession
from standardwebhooks import Webhook as Verifier

from control.api import wire_ids
from control.demo.chain import Chain
from control.roles.work import work
from gateway.kit.sql import Pool
from gateway.kit.tasks import Crew
from gateway.ledger import accounts
from tests.authorization import CLIENT_ID, CLIENT_SECRET, Provider, authorizing
from tests.control import test_mail as smtp
from tests.control.test_webhooks import Receiver, receiving
from tests.gateway.conftest import Ledger
from tests.paths.conftest import DOLLAR, Account, Upstream, serving, settings_of
from tests.paths.test_user_oauth import connect
from tests.waiting import until

PASSWORD = "a password nobody guesses"
ADA, BOB = "ada@example.com", "bob@example.com"


@dataclass
class Browser:
    """Somebody at the API, who reads their mail."""

    session: ClientSession
    origin: str
    mailbox: smtp.Mailbox
    token: str = ""

    async def ask(self, method: str, path: str, status: int, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with self.session.request(method, self.origin + path, json=body, headers=headers) as response:
            text = await response.text()
            assert response.status == status, (method, path, response.status, text)
            return json.loads(text) if text else None

    async def word(self, email: str, kind: str) -> str:
        """From the link in the latest letter of a kind, once it has come."""
        found: list[str] = []

        async def has_come() -> bool:
            for letter in self.mailbox.received:
                if letter["To"] == email and (text := letter.get_body(["plain"])) is not None:
                    found.extend(re.findall(rf"/auth/link#{kind}=(\S+)", text.get_content()))
            return bool(found)

        await until(has_come, 20)
        return found[-1]

    async def sign_up(self, name: str, email: str) -> str:
        """Returns the person's id."""
        new = {"name": name, "email": email, "password": PASSWORD}
        made = (await self.ask("POST", "/auth/signup", 201, new))["data"]["user"]
        assert made["status"] == "paused"
        word = await self.word(email, "verify")
        signed_in = (await self.ask("POST", "/auth/verify-email", 200, {"token": word}))["data"]
        self.token = signed_in["access_token"]
        assert (await self.ask("GET", "/auth/me", 200))["data"]["status"] == "active"
        return str(made["id"])


@asynccontextmanager
async def neighbourhood() -> AsyncIterator[tuple[smtp.Mailbox, int, Receiver, Provider]]:
    mailbox = smtp.Mailbox()
    async with smtp.serving(mailbox) as port, receiving() as receiver, authorizing() as provider:
        yield mailbox, port, receiver, provider


def verified(receiver: Receiver, secret: str) -> dict[str, Any]:
    """What arrived, by type, each message verified by the library that receivers use."""
    messages = [Verifier(secret).verify(body, headers) for headers, body in receiver.got]
    return {one["type"]: one["data"] for one in messages}


def has(receiver: Receiver, secret: str, types: set[str]) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        return types <= verified(receiver, secret).keys()

    return is_so


async def test_a_team_from_the_first_letter_to_the_audit_log(
    database_url: str, pool: Pool, valkey: str, chain: Chain, paid_token: str, upstream: Upstream
) -> None:
    crew = Crew()
    async with neighbourhood() as (mailbox, port, receiver, provider), ClientSession() as session:
        mail = {"host": "127.0.0.1", "port": port, "encryption": "none"}
        settings = settings_of(database_url, valkey, chain, paid_token, mail=mail)
        async with serving(settings) as origin, serving(settings) as other:
            crew.start(work(settings, on_ready=lambda: None))
            ada, bob = Browser(session, origin, mailbox), Browser(session, other, mailbox)
            ada_id = await ada.sign_up("Ada", ADA)
            team_id, at = await make_team(ada)
            secret = await listen(ada, at, receiver)
            bob_id = await invite(ada, bob, at)
            await until(has(receiver, secret, {"member.joined"}), 20)
            assert verified(receiver, secret)["member.joined"] == {"user_id": bob_id, "role": "viewer"}

            await give_custom_role(ada, bob, at, bob_id)
            key = await sell(ada, at, provider, upstream, chain)
            account = Account(UUID(team_id), key)
            await Ledger(pool).deposit(account.organization_id, DOLLAR, asset_of(settings))
            await call_in_own_name(session, origin, account, provider, upstream)

            # Revoked by one process, refused by the other; the key goes on.
            ended = await ada.ask("POST", "/sessions/revoke-all", 200)
            assert ended["data"]["revoked_count"] == 1
            await Browser(session, other, mailbox, ada.token).ask("GET", "/auth/me", 401)
            keyed = Browser(session, other, mailbox, key)
            await until(
                has(receiver, secret, {"key.created", "member.role_changed", "publisher.created"}), 20
            )
            await read_the_log(keyed, ada_id, bob_id, secret, key, provider, ada.token)
            assert await Ledger(pool).is_sound()
        await crew.close()


def asset_of(settings: Any) -> Any:
    return next(iter(accounts.of_networks(settings.networks).values()))


async def make_team(ada: Browser) -> tuple[str, str]:
    made = (await ada.ask("POST", "/v1/orgs", 200, {"name": "Weather Ltd"}))["org"]
    team_id = str(wire_ids.read_any(made["id"]))
    listed = (await ada.ask("GET", "/organizations", 200))["data"]
    assert [(one["name"], one["is_personal"]) for one in listed] == [("Ada", True), ("Weather Ltd", False)]
    assert listed[1]["id"] == team_id
    return team_id, f"/organizations/{team_id}"


async def listen(ada: Browser, at: str, receiver: Receiver) -> str:
    hook = {"name": "all", "url": receiver.url, "events": ["*"]}
    return str((await ada.ask("POST", f"{at}/webhooks", 201, hook))["data"]["secret"])


async def invite(ada: Browser, bob: Browser, at: str) -> str:
    await ada.ask("POST", f"{at}/invites", 201, {"email": BOB, "role": "viewer"})
    bob_id = await bob.sign_up("Bob", BOB)
    await bob.ask("GET", f"{at}/members", 404)
    word = await bob.word(BOB, "invite")
    # The link is of use to its address only.
    await ada.ask("POST", "/auth/accept-invite", 400, {"token": word})
    joined = (await bob.ask("POST", "/auth/accept-invite", 200, {"token": word}))["data"]
    assert (joined["organization_name"], joined["role"]) == ("Weather Ltd", "viewer")
    assert len((await bob.ask("GET", f"{at}/members", 200))["data"]) == 2
    return bob_id


async def give_custom_role(ada: Browser, bob: Browser, at: str, bob_id: str) -> None:
    await bob.ask("GET", f"{at}/webhooks", 200)
    await bob.ask("POST", f"{at}/invites", 403, {"email": "eve@example.com"})
    role = {"name": "bookkeeper", "permissions": ["wallet.read", "members.read"]}
    await ada.ask("POST", f"{at}/roles", 201, role)
    await ada.ask("PUT", f"{at}/members/{bob_id}/role", 200, {"role_name": "bookkeeper"})
    assert (await bob.ask("GET", f"{at}/permissions/check/wallet.read", 200))["data"] is True
    await bob.ask("GET", f"{at}/webhooks", 403)


async def sell(ada: Browser, at: str, provider: Provider, upstream: Upstream, chain: Chain) -> str:
    """A publisher that acts in its callers' accounts elsewhere. Returns a key of the team."""
    there = {
        "slug": "hub", "name": "Hub", "authorization_url": f"{provider.url}/authorize",
        "token_url": f"{provider.url}/token", "revocation_url": f"{provider.url}/revoke",
        "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "scopes": ["read"],
    }  # fmt: skip
    made = (await ada.ask("POST", f"{at}/oauth/providers", 201, there))["data"]
    provider.client.redirect_uris = [f"{ada.origin}/oauth/providers/{made['id']}/callback"]
    shop = {
        "name": "Shop", "slug": "shop", "publisher_category": "integration", "api_url": upstream.url,
        "wallet_address": chain.accounts[5].address, "wallet_network_id": chain.network,
        "price_per_call": "0.25", "requires_user_oauth": True, "oauth_provider_slug": "hub",
    }  # fmt: skip
    await ada.ask("POST", f"{at}/publishers", 201, shop)
    return str((await ada.ask("POST", f"{at}/api-keys", 201, {"name": "robot"}))["data"]["api_key"])


async def call_in_own_name(
    session: ClientSession, origin: str, account: Account, provider: Provider, upstream: Upstream
) -> None:
    shop = f"{origin}/publishers/shop/x"

    async def ask() -> tuple[int, Any]:
        async with session.get(shop, headers=account.headers) as response:
            return response.status, await response.json()

    async def is_served() -> bool:
        return (await ask())[0] == 403

    await until(is_served)
    _, refused = await ask()
    assert refused["code"] == "connection-required"
    assert (await connect(account, refused["connect_url"]))["status"] == ["success"]
    assert (await ask())[0] == 200
    [token] = provider.tokens
    assert upstream.seen[-1].headers["Authorization"] == f"Bearer {token.access_token}"


async def read_the_log(
    keyed: Browser, ada_id: str, bob_id: str, secret: str, key: str, provider: Provider, access: str
) -> None:
    log = (await keyed.ask("GET", "/organizations/default/audit-logs?limit=100", 200))["data"]["data"]
    done = [(one["action"], one["actor_id"]) for one in reversed(log) if one["status"] == "success"]
    expected = [
        ("v1_create_org", ada_id), ("create_webhook", ada_id), ("create_invite", ada_id),
        ("accept_organization_invite", bob_id), ("create_organization_role", ada_id), ("assign_role", ada_id),
        ("create_org_oauth_provider", ada_id), ("create_publisher", ada_id), ("create_org_api_key", ada_id),
        ("initiate_oauth_by_id", ada_id), ("oauth_callback_by_id", ada_id),
    ]  # fmt: skip
    assert done == expected
    denied = [(one["action"], one["actor_id"]) for one in reversed(log) if one["status"] == "denied"]
    assert denied == [("create_invite", bob_id), ("list_webhooks", bob_id)]
    written = json.dumps(log)
    tokens = [text for one in provider.tokens for text in (one.access_token, one.refresh_token)]
    for hidden in (secret, key, access, PASSWORD, CLIENT_SECRET, *tokens):
        assert hidden not in written
