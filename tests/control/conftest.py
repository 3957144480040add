from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from config.settings import Network, Settings
from control import app
from control.api.ports import Ports
from control.identity import keys, people
from control.identity.people import Newcomer
from gateway import auth_mode
from gateway.kit import crypto, pools
from gateway.kit.crypto import Keyring
from gateway.kit.sql import Pool
from gateway.kit.ssrf import Guard
from gateway.ledger import accounts
from tests.waiting import SECONDS_MAX

Client: TypeAlias = TestClient[web.Request, web.Application]

FACILITATOR_KEY = "0x" + "11" * 32
USDC = "0x" + "ab" * 20
COARSE = "0x" + "cd" * 20

NETWORKS = [
    {
        "id": "eip155:84532",
        "name": "base-sepolia",
        "rpc_url": "http://127.0.0.1:1",
        "facilitator_key": FACILITATOR_KEY,
        "assets": [
            {"address": USDC, "symbol": "USDC", "decimals": 6, "name": "USDC", "version": "2"},
            {"address": COARSE, "symbol": "CENT", "decimals": 2, "name": "Cent", "version": "1"},
        ],
    },
    {
        "id": "eip155:8453",
        "rpc_url": "http://127.0.0.1:1",
        "facilitator_key": FACILITATOR_KEY,
        "assets": [{"address": USDC, "symbol": "USDC", "decimals": 6, "name": "USD Coin", "version": "2"}],
    },
]
MODES = auth_mode.installed()
TEST_USDC = accounts.asset_id("eip155:84532", USDC)
TEST_CENT = accounts.asset_id("eip155:84532", COARSE)
LIVE_USDC = accounts.asset_id("eip155:8453", USDC)


def ports_with(networks: Sequence[Any]) -> Ports:
    settings = Settings(
        public_url="https://gateway.example",
        networks=tuple(Network.model_validate(one) for one in networks),
    )
    keyring = Keyring.parse([crypto.new_key("test")])
    return Ports(Guard(is_private_allowed=True), keyring, MODES, settings)


def newer(old: Keyring) -> tuple[Keyring, Keyring]:
    """A keyring with a new key before the old ones, and one with the new key only."""
    only = Keyring.parse([crypto.new_key("newer")])
    both = replace(only, ciphers={**only.ciphers, **old.ciphers}, roots={**only.roots, **old.roots})
    return both, only


@pytest.fixture(autouse=True)
def _crowds_wait_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty who race have their turns, however busy the machine is; to come again later proves nothing."""
    monkeypatch.setattr(pools, "ACQUIRE_SECONDS", SECONDS_MAX)


@pytest.fixture
def ports() -> Ports:
    return ports_with(NETWORKS)


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody with an organization of their own, and a key that may do everything in it."""

    id: Newcomer
    headers: dict[str, str]

    @property
    def organization_id(self) -> str:
        return str(self.id.organization_id)


async def bearer(
    pool: Pool, who: Newcomer, scopes: list[str] | None = None, mode: Literal["live", "test"] = "test"
) -> dict[str, str]:
    """The headers of a caller with a key of its own."""
    new = keys.NewKey(who.organization_id, who.user_id, "test", "agent", mode, scopes)
    _, key = await keys.issue(pool, new)
    return {"Authorization": f"Bearer {key}"}


async def join(pool: Pool, mode: Literal["live", "test"] = "test") -> Member:
    who = await people.create(pool, "agent", "Somebody", None)
    return Member(who, await bearer(pool, who, mode=mode))


@pytest.fixture
async def member(pool: Pool, ports: Ports) -> Member:
    await accounts.publish_assets(pool, ports.settings.networks)
    return await join(pool)


@pytest.fixture
async def client(pool: Pool, ports: Ports, member: Member, aiohttp_client: AiohttpClient) -> Client:
    """A client whose key may do everything in the member's organization."""
    return await aiohttp_client(app.create(pool, ports), headers=member.headers)


@pytest.fixture
async def stranger(pool: Pool, ports: Ports, member: Member, aiohttp_client: AiohttpClient) -> Client:
    """A client without a key."""
    return await aiohttp_client(app.create(pool, ports))


async def refused_fields(response: Any) -> list[str]:
    """The fields that a 400 names."""
    problem = await response.json()
    # Under /v1 by another name.
    assert (response.status, problem["code"] in ("invalid-request", "validation_failed")) == (400, True), (
        problem
    )
    return [error["pointer"] for error in problem["errors"]]
