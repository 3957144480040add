"""The people of the model on a real database, how they ask, and what must be true after each step."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from aiohttp.test_utils import TestClient, TestServer
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from config.money import Fees, Payouts
from config.plans import Plan
from control import app
from control.api.ports import Ports
from control.identity import keys
from control.invoicing import drafting
from control.reconciling import books
from gateway.kit import ids
from gateway.kit.sql import Pool, create_pool
from gateway.ledger import accounts, caps, grants
from gateway.ledger.accounts import PLATFORM
from gateway.ledger.holds import Holds
from gateway.x402.deposits import link
from tests.arrivals import arrive
from tests.control.conftest import NETWORKS, TEST_USDC, Client, Member, join, ports_with
from tests.control.model.dying import Death, Gone, dying
from tests.control.model.plain import BUSY, Model
from tests.control.test_publishers import NEW
from tests.gateway.conftest import Ledger

K = TypeVar("K")
T = TypeVar("T")
FEE_BASIS_POINTS = 333
CENT = 10_000
PLANS = (
    Plan(id="free", name="Free"),
    Plan(id="small", name="Small", price_per_month="0.30"),
    Plan(id="large", name="Large", price_per_month="1.00"),
)
PICKS = st.integers(0, 999)
PERCENT = st.integers(0, 100)
WHO = st.integers(0, 1)
AMOUNTS = st.integers(1, 20) | st.integers(1, 10**6)
IDEMPOTENCY_KEY = "Idempotency-Key"
BELOW_ZERO = """
SELECT count(*) FROM accounts
WHERE held < 0 OR posted < held AND kind NOT IN ('chain', 'stripe', 'polar', 'bank')
"""
GRANTS = "SELECT id, held, spent, expired FROM grants WHERE organization_id = ANY ($1::uuid[])"
INVOICES = "SELECT id, status, total_cents FROM invoices WHERE organization_id = ANY ($1::uuid[])"
CHARGES = "SELECT id, amount, refunded, slashed FROM charges WHERE publisher_id = $1"
PAYOUTS = "SELECT id, state, amount FROM payouts WHERE publisher_id = $1"


@dataclass(frozen=True)
class Step:
    run: Callable[..., None]
    can: Callable[[Model], bool]
    weight: int
    strategies: Mapping[str, st.SearchStrategy[Any]]


def step(
    *, can: Callable[[Model], bool] = lambda _: True, weight: int = 1, **strategies: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """As Hypothesis' ``rule``, of which each example leaves out most: here each has all, by weight."""

    def marked(run: Callable[..., None]) -> Callable[..., None]:
        vars(run)["step"] = Step(run, can, weight, strategies)
        return run

    return marked


def picked(several: Iterable[K], number: int) -> K:
    listed = list(several)
    return listed[number % len(listed)]


def is_over(death: Death | None) -> bool:
    return death is not None and death.is_dead


class World(RuleBasedStateMachine):
    """Two payers, the first with a plan and a key with caps, a first-party publisher, and the operator."""

    dsn = ""
    operator: Mapping[str, str]
    number = 0

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.model = Model()
        self.deaths = 0
        members = [getattr(type(self), name) for name in dir(type(self))]
        self.steps: dict[str, Step] = {one.__name__: one.step for one in members if hasattr(one, "step")}
        self.weighted = [name for name, one in self.steps.items() for _ in range(one.weight)]
        self.run(self.connect())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        """What is drawn never depends on what was done: that may take another turn when it is done again."""
        chosen = self.steps[data.draw(st.sampled_from(self.weighted), "step")]
        drawn = {name: data.draw(one, name) for name, one in chosen.strategies.items()}
        if chosen.can(self.model):
            chosen.run(self, **drawn)

    async def connect(self) -> None:
        World.number += 1
        self.pool: Pool = await create_pool(self.dsn, size_max=4)
        self.ledger = Ledger(self.pool)
        plain = ports_with(NETWORKS[:1])
        chosen = {
            "fees": Fees(platform_basis_points=FEE_BASIS_POINTS),
            "payouts": Payouts(minimum="0", is_manual=True),
            "plans": PLANS,
        }
        ports = Ports(plain.guard, plain.keyring, plain.modes, plain.settings.model_copy(update=chosen))
        await accounts.publish_assets(self.pool, ports.settings.networks)
        self.terms = drafting.terms(PLANS, ports.settings.networks)
        self.client: Client = TestClient(TestServer(app.create(self.pool, ports)))
        await self.client.start_server()
        self.seller: Member = await join(self.pool)
        self.payers = [await join(self.pool) for _ in range(2)]
        self.owners = [one.id.organization_id for one in self.payers]
        self.wallets = [f"0x{self.number * 2 + who:040x}" for who in range(2)]
        for wallet, owner in zip(self.wallets, self.owners, strict=True):
            await link(self.pool, wallet, owner)
        self.busy = (await join(self.pool)).id.organization_id
        account = await accounts.ensure(self.pool, self.busy, TEST_USDC, "funded")
        await arrive(self.pool, account, TEST_USDC, BUSY, "Deposit")
        self.slug = f"weather-{self.number}"
        made = await self.client.post(
            "/organizations/default/publishers",
            json={**NEW, "slug": self.slug},
            headers=self.seller.headers,
        )
        self.publisher_id = UUID((await made.json())["data"]["id"])
        await self.client.patch(
            f"/platform/publishers/{self.publisher_id}", json={"is_first_party": True}, headers=self.operator
        )
        self.earnings_id = await accounts.ensure(
            self.pool, self.seller.id.organization_id, TEST_USDC, "earnings"
        )
        new = keys.NewKey(self.owners[0], accounts.PLATFORM, "k", "user", "test")
        self.key_id: UUID = (await keys.issue(self.pool, new))[0]["id"]
        await caps.put(self.pool, self.key_id, self.model.caps)
        # This month is shared by all examples, and no one's whole.
        await self.pool.execute(
            "INSERT INTO invoice_runs (month, finished_at)"
            " VALUES (date_trunc('month', now() AT TIME ZONE 'UTC')::date, now()) ON CONFLICT DO NOTHING"
        )
        self.start_gateway()
        # What the examples before left there.
        self.before = {
            kind: await self.balance(PLATFORM, kind) for kind in ("fees", "revenue", "promotion_budget")
        }

    def start_gateway(self) -> None:
        self.holds = Holds(self.pool, timedelta(hours=1))

    async def balance(self, owner: UUID, kind: str) -> int:
        query = "SELECT posted FROM accounts WHERE owner_id = $1 AND kind = $2 AND asset_id = $3"
        return int(await self.pool.fetchval(query, owner, kind, TEST_USDC) or 0)

    async def dies(self, work: Coroutine[Any, Any, Any], death: Death | None) -> tuple[Any, bool]:
        """What came of it, and whether its process was gone before it could say so."""
        with dying(death):
            try:
                return await work, False
            except Gone:
                self.deaths += 1
                return None, True

    async def send(
        self, method: str, path: str, body: Any, death: Death | None, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        with dying(death):
            response = await self.client.request(method, path, json=body, headers=headers)
        return response.status, await response.json() if response.status != 204 else None

    def ask_once(
        self, path: str, body: Any, death: Death | None, headers: Mapping[str, str]
    ) -> tuple[int, Any]:
        """What a client hears that sends the same again, under the same key, until it is answered.

        Whoever is answered asks once more now and then, is told the same, and changes nothing.
        """
        headers = {**headers, IDEMPOTENCY_KEY: str(ids.new())}
        status, answer = self.run(self.send("POST", path, body, death, headers))
        if status >= 500:
            assert is_over(death), answer
            self.deaths += 1
            status, answer = self.run(self.send("POST", path, body, None, headers))
        if status < 300:
            assert self.run(self.send("POST", path, body, None, headers)) == (status, answer)
        return status, answer

    def ask(
        self, method: str, path: str, body: Any, death: Death | None, headers: Mapping[str, str]
    ) -> tuple[int, Any] | None:
        """None when nobody answered: then it is done, or it is not."""
        status, answer = self.run(self.send(method, path, body, death, headers))
        if status < 500:
            return status, answer
        assert is_over(death), answer
        self.deaths += 1
        return None

    async def found(self) -> dict[str, Any]:
        """What is in the database of all that is in the model."""
        seller, of_platform = self.seller.id.organization_id, {}
        for kind, before in self.before.items():
            of_platform[kind] = await self.balance(PLATFORM, kind) - before
        return {
            "funded": [await self.ledger_balance(one, "funded") for one in self.owners],
            "promotional": [await self.ledger_balance(one, "promotional") for one in self.owners],
            "busy": await self.ledger_balance(self.busy, "funded"),
            "earned": await self.balance(seller, "earnings"),
            "leaving": await self.balance(seller, "payouts"),
            **of_platform,
            "grants": await self.rows(GRANTS, self.owners),
            "invoices": await self.rows(INVOICES, self.owners),
            "charges": await self.rows(CHARGES, self.publisher_id),
            "payouts": await self.rows(PAYOUTS, self.publisher_id),
            "open": {
                row[0] for row in await self.pool.fetch("SELECT call_id FROM holds WHERE state = 'open'")
            },
            "below zero": await self.pool.fetchval(BELOW_ZERO),
            "is sound": await self.ledger.is_sound(),
            "sums": [tuple(row) for row in await self.pool.fetch(books.SQL.sums, 9)],
        }

    async def ledger_balance(self, owner: UUID, kind: str) -> tuple[int, int]:
        query = "SELECT posted, held FROM accounts WHERE owner_id = $1 AND asset_id = $2 AND kind = $3"
        row = await self.pool.fetchrow(query, owner, TEST_USDC, kind)
        return (int(row["posted"]), int(row["held"])) if row else (0, 0)

    async def rows(self, query: str, value: Any) -> dict[str, tuple[Any, ...]]:
        return {str(row[0]): tuple(row)[1:] for row in await self.pool.fetch(query, value)}

    def told(self) -> dict[str, Any]:
        """The same, of the model."""
        model = self.model
        given = [model.given(who) for who in range(2)]
        return {
            "funded": [(model.funded[who], model.held(who)) for who in range(2)],
            "promotional": [(sum(o.left + o.held for o in g), sum(o.held for o in g)) for g in given],
            "busy": (model.busy, 0),
            "earned": model.earned,
            "leaving": model.leaving,
            "fees": model.fees,
            "revenue": model.revenue * CENT,
            "promotion_budget": model.budget,
            "grants": {str(o.id): (o.held, o.spent, o.expired) for o in model.grants.values()},
            "invoices": {key: (one.state, one.cents) for key, one in model.invoices.items()},
            "charges": {
                key: (one.amount, one.amount - one.stands, one.slashed) for key, one in model.charges.items()
            },
            "payouts": {key: (one.state, one.amount) for key, one in model.payouts.items()},
            "open": set(model.holds),
            "below zero": 0,
            "is sound": True,
            "sums": [],
        }

    def teardown(self) -> None:
        self.run(self.leave())
        self.loop.close()

    async def leave(self) -> None:
        """The other examples' jobs and bills find nothing of this one's."""
        for call_id in self.model.holds:
            await self.holds.void(call_id)
        await grants.expire(self.pool)
        await self.pool.execute("DELETE FROM organization_plans")
        await self.holds.close()
        await self.client.close()
        await self.pool.close()
