"""Calls beyond what a plan allows in a month, in the whole product."""

from config.plans import Plan
from control.metering import rollups
from control.quotas import headroom
from tests.paths.conftest import DOLLAR, Farebox
from tests.waiting import until

THREE = (Plan(id="free", name="Free", quotas={"calls_per_month": 3}),)
ADDED_UP = "SELECT sum(calls)::bigint AS calls, sum(cost) AS cost FROM usage_days WHERE organization_id = $1"


async def test_calls_beyond_the_plan_are_refused_and_cost_nothing(farebox: Farebox) -> None:
    shop, caller = await farebox.publish(), await farebox.sign_up()
    await farebox.fund(caller, 5 * DOLLAR)

    async def status() -> int:
        return (await farebox.agent.ask("GET", f"{shop}/a", headers=caller.headers)).status

    async def look() -> None:
        await rollups.roll_up(farebox.pool)
        await headroom.watch(farebox.pool, THREE)

    assert [await status() for _ in range(2)] == [200, 200]
    await look()
    assert await status() == 200
    await look()

    async def is_refused() -> bool:
        return await status() == 403

    await until(is_refused)
    await look()
    made = await farebox.pool.fetchrow(ADDED_UP, caller.organization_id)
    assert made is not None
    # What was paid for before the gateway heard of it was served, and is in the sums.
    assert (made["calls"] >= 3, made["cost"]) == (True, made["calls"] * DOLLAR // 4)
    assert await farebox.balance(caller) == 5 * DOLLAR - made["cost"]
    asked = len(farebox.upstream.seen)
    reply = await farebox.agent.ask("GET", f"{shop}/a", headers=caller.headers)
    assert (reply.status, reply.json["code"]) == (403, "quota-exceeded")
    assert len(farebox.upstream.seen) == asked
    # Another organization, and whoever pays on chain, is somebody else.
    assert (await farebox.pay("GET", f"{shop}/b")).status == 200
    other = await farebox.sign_up()
    await farebox.fund(other, DOLLAR)
    assert (await farebox.agent.ask("GET", f"{shop}/a", headers=other.headers)).status == 200

    await headroom.release(farebox.pool, caller.organization_id)

    async def is_served() -> bool:
        return await status() == 200

    await until(is_served)
    assert await farebox.is_sound()
