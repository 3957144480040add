"""Plans bought at Polar, by chance: told late, twice or never, among choices made here and jobs that meet."""

import asyncio
import itertools
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from control.quotas.catalogue import id_of
from tests.control.subscribing import PRO, SUCCESS, TEAM, Kiosk
from tests.control.subscribing import kiosk as kiosk
from tests.fakes import polar_plans

HOLDING = ("active", "trialing")
STATUSES = (*HOLDING, "past_due", "paused", "canceled")
PLANS = """
SELECT subscription_id, started_at, ends_at FROM organization_plans
WHERE started_at < ends_at OR ends_at IS NULL ORDER BY started_at
"""


@dataclass(slots=True)
class Chance:
    kiosk: Kiosk
    dice: random.Random
    known: list[str]
    later: list[Any] = field(default_factory=list)

    async def change(self) -> None:
        """At Polar, which tells of it when it likes."""
        changes = {"status": self.dice.choice(STATUSES), "product_id": self.dice.choice((PRO, TEAM))}
        self.later.append(polar_plans.change(self.kiosk.polar, self.dice.choice(self.known), **changes))

    async def tell(self) -> None:
        if self.later:
            told = self.dice.choice(self.later)
            await asyncio.gather(self.kiosk.told("updated", told), self.kiosk.told("active", told))

    async def choose(self) -> None:
        plan = self.dice.choice(self.kiosk.api.plans)
        chosen = self.kiosk.client.post("/organizations/default/plan", json={"plan_id": str(id_of(plan))})
        response, _ = await asyncio.gather(chosen, self.kiosk.clerk.turn())
        assert response.status in (200, 409)

    async def work(self) -> None:
        await asyncio.gather(*(self.kiosk.clerk.turn() for _ in range(2)))

    async def end(self) -> None:
        """Each is told as it is now, and then once more what some of them were."""
        old = self.dice.sample(self.later, k=min(3, len(self.later)))
        for told in (*(self.kiosk.polar.subscriptions[one] for one in self.known), *old):
            await self.kiosk.told("updated", told)
        while await self.kiosk.clerk.turn():
            pass


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_ends_as_polar_has_it(kiosk: Kiosk, seed: int) -> None:
    pages = [await kiosk.post("checkout", tier=tier, successURL=SUCCESS) for tier in ("pro", "team")]
    known = [str(polar_plans.subscribe(kiosk.polar, page["id"])["id"]) for page in pages]
    chance = Chance(kiosk, random.Random(seed), known)
    for _ in range(25):
        await chance.dice.choice((chance.change, chance.tell, chance.choose, chance.work))()
    await chance.end()
    # Two that are paid at once are somebody's to look at.
    assert {state for state, _ in await kiosk.notes()} <= {"done", "failed"}
    rows = await kiosk.pool.fetch(PLANS)
    assert all(before["ends_at"] == after["started_at"] for before, after in itertools.pairwise(rows))
    tiers = {PRO: "pro", TEAM: "team"}
    held = kiosk.polar.subscriptions.values()
    paid = [tiers[one["product_id"]] for one in held if one["status"] in HOLDING]
    tier, status = await kiosk.shown()
    if paid:
        assert (tier, status in HOLDING) == (max(paid), True)
    assert bool(paid) == any(row["subscription_id"] and row["ends_at"] is None for row in rows)
