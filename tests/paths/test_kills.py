"""Every process of ``farebox up`` is killed under load, again and again: no charge is lost, none is doubled.

The short form runs with the other tests. The long one is ``pytest -m soak tests/paths/test_kills.py -s``.
"""

import asyncio
import random
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from control.demo.chain import Chain
from gateway.kit.sql import Pool, create_pool
from tests.gateway.conftest import Ledger
from tests.paths.conftest import DOLLAR, Account, Farebox, Upstream, settings_of
from tests.paths.killing import VICTIMS, Installation, Killed, installed
from tests.paths.shoppers import Shoppers, is_final, shopping
from tests.waiting import until

PRICE = DOLLAR // 100
FUNDS = 1000 * DOLLAR
# Between two kills, so that they come at any point of a call and of a start.
QUIET_SECONDS = (0.2, 1.5)
# A hold outlives the longest call by a minute; that is what the long form waits for.
LIFETIME_SECONDS_MAX = 150

SUM_BY_ASSET = """
SELECT asset_id, sum(amount) FROM entries JOIN accounts ON accounts.id = account_id
GROUP BY asset_id HAVING sum(amount) <> 0
"""
CHARGED = """
SELECT call_id AS id, path FROM usage_events JOIN transfers ON transfers.id = coalesce(charged_as, call_id)
WHERE kind = 'charge'
"""
UNUSUAL = """
SELECT count(*) FROM transfers JOIN entries ON transfer_id = transfers.id AND amount < 0
WHERE kind = 'charge' AND amount <> -$1::numeric * calls
"""
UNDER_WAY = """
SELECT (SELECT count(*) FROM holds WHERE state = 'open') + (SELECT count(*) FROM purses)
    + (SELECT count(*) FROM slips)
    + (SELECT count(*) FROM payments WHERE state IN ('claimed', 'submitted'))
"""


@dataclass(slots=True)
class Siege:
    installation: Installation
    shoppers: Shoppers
    farebox: Farebox
    account: Account


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that other users may pass through, so that the database's socket has one name for all starts."""
    with tempfile.TemporaryDirectory(prefix="up-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        (Path(name) / "data").mkdir(mode=0o711)
        yield Path(name) / "data"


@pytest.fixture
async def siege(chain: Chain, paid_token: str, upstream: Upstream, directory: Path) -> AsyncIterator[Siege]:
    await chain.mint(paid_token, chain.accounts[2].address, FUNDS)
    settings = settings_of("unused", None, chain, paid_token, network={"settle_timeout_seconds": 5})
    (network,) = settings.networks
    plain: dict[str, Any] = network.model_dump(mode="json", exclude_none=True)
    [plain["facilitator_key"]] = network.keys

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(0.01)
        return web.json_response({"path": request.path})

    upstream.handler = answer
    # Its pool is the audit's: those of the time before lose their connections.
    async with (
        installed(directory, plain) as installation,
        ClientSession() as session,
        create_pool(installation.dsn, size_max=2) as pool,
    ):
        farebox = await Farebox.opened(
            installation.origin, settings, pool, session, chain, paid_token, upstream
        )
        shop = await farebox.publish(price_per_call="0.01")
        account = await farebox.sign_up()
        await farebox.fund(account, FUNDS)
        # One worker serving it says nothing of the other, which hears of it within a second.
        await asyncio.sleep(1)
        shoppers = Shoppers(shop, account.key, bytes(chain.accounts[2].key))
        yield Siege(installation, shoppers, farebox, account)


async def test_five_kills_lose_no_charge_and_double_none(siege: Siege) -> None:
    order = random.Random(5)
    victims = list(VICTIMS)
    order.shuffle(victims)
    killed = await besiege(siege, [(one, order) for one in victims])
    await settle_down(siege, is_waiting=False)
    report(siege, killed)
    await audit(siege)


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_fifty_kills_lose_no_charge_and_double_none(siege: Siege) -> None:
    order = random.Random(50)
    killed = await besiege(siege, [(order.choice(VICTIMS), order) for _ in range(50)])
    await settle_down(siege, is_waiting=True)
    report(siege, killed)
    await audit(siege)


async def besiege(siege: Siege, victims: Sequence[tuple[Any, random.Random]]) -> list[Killed]:
    killed = []
    async with shopping(siege.shoppers, plain=3, by_key=2, by_payment=2):
        await asyncio.sleep(1)
        for victim, order in victims:
            await asyncio.sleep(order.uniform(*QUIET_SECONDS))
            # One in four has to die twice, the second time while it starts or is hardly there.
            is_twice = victim != "up" and order.random() < 0.25
            again_after = order.uniform(0, 0.5) if is_twice else None
            killed.append(await siege.installation.kill(victim, order.randrange(100), again_after))
        await asyncio.sleep(1)
    return killed


async def settle_down(siege: Siege, *, is_waiting: bool) -> None:
    """What dead processes left open is closed by the background jobs, and every call has an end."""
    if not is_waiting:
        await siege.farebox.pool.execute("UPDATE holds SET expires_at = now() WHERE state = 'open'")
        await siege.farebox.pool.execute("UPDATE purses SET expires_at = now()")
        await siege.farebox.pool.execute("UPDATE payments SET created_at = created_at - interval '1 hour'")
    await until(lambda: is_quiet(siege.farebox.pool), LIFETIME_SECONDS_MAX)
    await siege.shoppers.ask_again()
    await until(lambda: is_quiet(siege.farebox.pool), LIFETIME_SECONDS_MAX)


async def is_quiet(pool: Pool) -> bool:
    return bool(await pool.fetchval(UNDER_WAY) == 0)


async def audit(siege: Siege) -> None:
    farebox, told = siege.farebox, siege.shoppers.told
    assert told.hung == 0
    assert told.bugs == []
    assert siege.installation.problems_in_log() == []
    rows = await farebox.pool.fetch(CHARGED)
    charged = Counter(row["path"] for row in rows)
    plain = {row["id"] for row in rows if row["path"] == "/plain"}
    assert await farebox.pool.fetchval(UNUSUAL, PRICE) == 0

    # Every 200 is charged, once: a call has one id, and a transfer has one cause.
    assert len(set(told.answered)) == len(told.answered)
    assert set(told.answered) <= plain
    # What was refused is not, unless the refusal says that this is not known.
    refused = {one for one, code in told.refused.items() if code != "503 charge-unknown"}
    assert not refused & plain
    unknown = told.cut_off + len(told.refused) - len(refused)
    assert len(plain) <= len(told.answered) + unknown
    # Calls that can be asked for again have an end, and were charged once or not at all.
    assert all(is_final(reply) for reply in told.keyed.values()), told.count()
    assert all(is_final(reply) for reply in told.paid.values()), told.count()
    assert charged["/keyed"] == bought(told.keyed.values())
    assert charged["/paid"] == bought(told.paid.values())
    await money_adds_up(siege, charged)
    assert sum(charged.values()) <= len(farebox.upstream.seen)
    assert siege.installation.orphans(), "they are found while they run"
    assert await siege.installation.stop() == 0
    assert siege.installation.orphans() == set()


def bought(replies: Any) -> int:
    return sum(reply.status in (200, 409) for reply in replies)


async def money_adds_up(siege: Siege, charged: Counter[str]) -> None:
    farebox, ledger = siege.farebox, Ledger(siege.farebox.pool)
    assert await farebox.pool.fetch(SUM_BY_ASSET) == []
    assert await ledger.is_sound()
    prepaid = charged["/plain"] + charged["/keyed"]
    balance = await ledger.balance(siege.account.organization_id, farebox.asset)
    assert balance == (FUNDS - prepaid * PRICE, 0)
    settled = await farebox.pool.fetchval("SELECT count(*) FROM payments WHERE state = 'settled'")
    on_chain = await farebox.chain.balance(farebox.token, farebox.platform_wallet)
    assert on_chain == settled * PRICE == charged["/paid"] * PRICE


def report(siege: Siege, killed: Sequence[Killed]) -> None:
    lines = [f"{len(killed)} kills; ready again: {spread([one.seconds for one in killed])}"]
    for victim in VICTIMS:
        if some := [one.seconds for one in killed if one.victim == victim]:
            lines.append(f"  {victim:8} {len(some):3}  {spread(some)}")
    lines.append(f"what callers were told: {dict(siege.shoppers.told.count().most_common())}")
    sys.stdout.write("\n" + "\n".join(lines) + "\n")


def spread(seconds: Sequence[float]) -> str:
    return f"median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s"
