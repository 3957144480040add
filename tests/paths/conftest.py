"""The whole product in the test's own loop: real Postgres, real Valkey, a real EVM, a real upstream."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from uuid import UUID

import pytest
from aiohttp import ClientSession, web
from eth_account.signers.local import LocalAccount

from config.settings import Settings
from control.agent.client import Agent, Reply
from control.demo import token
from control.demo.chain import Chain
from control.demo.chain import running as chain_running
from control.roles.serve import serve
from gateway.front import server
from gateway.kit import crypto
from gateway.kit.sql import Pool
from gateway.ledger import accounts
from tests.gateway.conftest import Ledger
from tests.waiting import until

DOLLAR = 10**token.DECIMALS
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def chain() -> AsyncIterator[Chain]:
    async with chain_running() as chain:
        yield chain


@dataclass(slots=True)
class Upstream:
    """A publisher's API that does what a test tells it to, and remembers what it was sent."""

    url: str = ""
    handler: Handler | None = None
    seen: list[web.BaseRequest] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        if self.handler is not None:
            return await self.handler(request)
        self.bodies.append(await request.read())
        return web.json_response({"path": request.path_qs, "method": request.method})


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    upstream = Upstream()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{tail:.*}", upstream.answer)
    # Bodies as they come: a test of compressed bodies must see the bytes.
    runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    upstream.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield upstream
    await runner.cleanup()


@dataclass(slots=True)
class Account:
    organization_id: UUID
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


@dataclass(slots=True)
class Farebox:
    """The running product, and what a test does with it."""

    origin: str
    settings: Settings
    pool: Pool
    session: ClientSession
    chain: Chain
    token: str
    upstream: Upstream
    agent: Agent
    payer: str
    platform_wallet: str
    publisher: Account

    @classmethod
    async def opened(
        cls,
        origin: str,
        settings: Settings,
        pool: Pool,
        session: ClientSession,
        chain: Chain,
        token: str,
        upstream: Upstream,
    ) -> Self:
        """With a publisher who signed up, and an agent whose wallet is the chain's third."""
        payer, wallet = chain.accounts[2], chain.accounts[3].address
        agent, nobody = Agent(session, bytes(payer.key)), Account(UUID(int=0), "")
        farebox = cls(
            origin, settings, pool, session, chain, token, upstream, agent,
            payer.address.lower(), wallet, nobody,
        )  # fmt: skip
        farebox.publisher = await farebox.sign_up()
        return farebox

    async def sign_up(self) -> Account:
        reply = await self.agent.ask("POST", f"{self.origin}/auth/agent", body={})
        assert reply.status == 201, reply.text
        agent = reply.json["data"]["agent"]
        return Account(UUID(agent["organization_id"]), agent["api_key"])

    async def publish(self, slug: str = "shop", **more: Any) -> str:
        """Put the upstream on sale and return the URL that callers use, once it is served."""
        body = {
            "name": slug,
            "slug": slug,
            "publisher_category": "integration",
            "api_url": self.upstream.url,
            "wallet_address": self.chain.accounts[5].address,
            "wallet_network_id": self.chain.network,
            "price_per_call": "0.25",
            **more,
        }
        url = f"{self.origin}/organizations/default/publishers"
        reply = await self.agent.ask("POST", url, headers=self.publisher.headers, body=body)
        assert reply.status == 201, reply.text
        shop = f"{self.origin}/publishers/{slug}"
        await until(lambda: self.is_served(shop))
        return shop

    async def is_served(self, shop: str) -> bool:
        # An ambiguous path is refused, but only once the publisher is known: nothing is priced or sent.
        return (await self.agent.ask("GET", f"{shop}/%2F")).status == 400

    async def fund(self, account: Account, amount: int) -> None:
        """Without the chain, for tests that are about spending."""
        await Ledger(self.pool).deposit(account.organization_id, amount, self.asset)

    @property
    def asset(self) -> Any:
        return next(iter(accounts.of_networks(self.settings.networks).values()))

    async def balance(self, account: Account) -> int:
        reply = await self.agent.ask("GET", f"{self.origin}/wallet/balance", headers=account.headers)
        assert reply.status == 200, reply.text
        return int(reply.json["data"]["balance_atomic"])

    async def earned(self) -> tuple[int, int]:
        """The publisher's earnings and the platform's fees."""
        ledger = Ledger(self.pool)
        earnings = await ledger.balance(self.publisher.organization_id, self.asset, "earnings")
        fees = await ledger.balance(accounts.PLATFORM, self.asset, "fees")
        return earnings[0], fees[0]

    async def move(self, owner: LocalAccount, receiver: str, amount: int) -> None:
        """On chain, by a transaction of the owner's own."""
        await self.chain.transact(self.token, token.transfer(receiver, amount), sender=owner)

    async def spent(self, account: Account, funds: int) -> int:
        """What the caller paid of its funds, once nothing is held any more and usage and ledger agree."""

        async def is_closed() -> bool:
            return bool(await self.pool.fetchval(NOTHING_HELD))

        await until(is_closed)
        assert await self.is_sound()
        return funds - await self.balance(account)

    async def is_sound(self) -> bool:
        return await Ledger(self.pool).is_sound()

    async def pay(self, method: str, url: str, **more: Any) -> Reply:
        """Ask, be asked to pay, pay."""
        challenge = await self.agent.ask(method, url, **more)
        assert challenge.status == 402, challenge.text
        return await self.agent.pay(method, url, challenge, **more)


NOTHING_HELD = """
SELECT NOT EXISTS (SELECT FROM holds WHERE state = 'open') AND NOT EXISTS (SELECT FROM purses)
    AND NOT EXISTS (SELECT FROM slips)
"""


async def break_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"half")
    assert request.transport is not None
    request.transport.abort()
    return response


@pytest.fixture(autouse=True)
def _nobody_waits_for_idle_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing comes on what a test leaves open; the drains under test are those of ``farebox up``."""
    monkeypatch.setattr(server, "IDLE_DRAIN_SECONDS", 0)
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.05)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    """One process of the product; leaving it drains it like a SIGTERM."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    ready = asyncio.Event()
    work = serve(settings, is_gateway=True, is_control=True, listening=listening, on_ready=ready.set)
    async with asyncio.TaskGroup() as group:
        served = group.create_task(work)
        waiting = group.create_task(ready.wait())
        await asyncio.wait({served, waiting}, return_when=asyncio.FIRST_COMPLETED)
        assert ready.is_set(), served
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            served.cancel()


def settings_of(dsn: str, redis_url: str | None, chain: Chain, address: str, **more: Any) -> Settings:
    network = {
        "id": chain.network,
        "rpc_url": chain.rpc_url,
        "facilitator_key": "0x" + bytes(chain.accounts[1].key).hex(),
        "pay_to": chain.accounts[3].address,
        "assets": [
            {
                "address": address,
                "symbol": token.SYMBOL,
                "decimals": token.DECIMALS,
                "name": token.NAME,
                "version": token.VERSION,
            }
        ],
        **more.pop("network", {}),
    }
    values = {
        "postgres": {"dsn": dsn, "pool_size": 8},
        "redis": {"url": redis_url},
        "secrets": {"keys": (crypto.new_key("test"),)},
        "networks": (network,),
        "allow_private_upstreams": True,
        "fees": {"platform_basis_points": 1000},
        "limits": {
            "address_calls_per_second": 10_000,
            "address_burst": 10_000,
            "signup_burst": 10_000,
            "body_bytes_max": 4 << 20,
        },
        **more,
    }
    return Settings.model_validate(values)


@pytest.fixture
def database_url(server: str, database: str) -> str:
    return server.replace("/postgres?", f"/{database}?")


@pytest.fixture
async def paid_token(chain: Chain) -> str:
    """A deployed token, with ten dollars in the agent's wallet."""
    address = await chain.deploy_token()
    await chain.mint(address, chain.accounts[2].address, 10 * DOLLAR)
    return address


@pytest.fixture
def network() -> dict[str, Any]:
    """What a module of tests changes in the network's settings."""
    return {}


@pytest.fixture
async def farebox(
    database_url: str,
    pool: Pool,
    valkey: str,
    chain: Chain,
    paid_token: str,
    upstream: Upstream,
    network: dict[str, Any],
) -> AsyncIterator[Farebox]:
    settings = settings_of(database_url, valkey, chain, paid_token, network=network)
    async with serving(settings) as origin, ClientSession(auto_decompress=False) as session:
        farebox = await Farebox.opened(origin, settings, pool, session, chain, paid_token, upstream)
        yield farebox
