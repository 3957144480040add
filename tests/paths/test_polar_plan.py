"""A plan that is bought at Polar, in the whole product: from the page to the calls that it has room for."""

from uuid import uuid4

from aiohttp import ClientSession

from config.plans import Plan
from control.demo.chain import Chain
from control.metering import rollups
from control.processors.jobs import Clerk
from control.quotas import headroom
from control.roles.charging import charging
from gateway.kit.sql import Pool
from tests.fakes import polar_plans
from tests.fakes.polar import FakePolar, running
from tests.paths.conftest import DOLLAR, Farebox, Upstream, serving, settings_of
from tests.waiting import until

FREE = Plan(id="free", name="Free", quotas={"calls_per_month": 2})
PRO = Plan(id="pro", name="Pro", price_per_month="29", quotas={"calls_per_month": 100})


async def test_whoever_is_beyond_the_plan_buys_a_larger_one_and_goes_on(
    database_url: str, pool: Pool, valkey: str, chain: Chain, paid_token: str, upstream: Upstream
) -> None:
    product = str(uuid4())
    async with running(FakePolar(plans={product: 2900}), polar_plans.route) as polar:
        settings = settings_of(
            database_url, valkey, chain, paid_token, plans=(FREE, PRO),
            polar={
                "access_token": polar.token, "webhook_secrets": (polar.secret,), "environment": "sandbox",
                "api_base": polar.url, "products": {"pro": product},
            },
        )  # fmt: skip
        async with (
            serving(settings) as origin,
            ClientSession(auto_decompress=False) as session,
            charging(settings) as processors,
        ):
            farebox = await Farebox.opened(origin, settings, pool, session, chain, paid_token, upstream)
            shop, caller = await farebox.publish(), await farebox.sign_up()
            await farebox.fund(caller, 5 * DOLLAR)

            async def status() -> int:
                return (await farebox.agent.ask("GET", f"{shop}/a", headers=caller.headers)).status

            async def is_refused() -> bool:
                return await status() == 403

            async def is_served() -> bool:
                return await status() == 200

            async def tell(kind: str, data: object) -> None:
                body, headers = polar.signed(f"subscription.{kind}", data)  # type: ignore[arg-type]
                url = f"{origin}/v1/billing/webhook"
                async with session.post(
                    url, data=body, headers={**headers, "Content-Type": "application/json"}
                ) as response:
                    assert response.status == 200
                assert await Clerk(pool, processors).turn() == 1

            assert [await status() for _ in range(2)] == [200, 200]
            await rollups.roll_up(pool)
            await headroom.watch(pool, settings.plans)
            await until(is_refused)
            page = await farebox.agent.ask(
                "POST", f"{origin}/v1/billing/checkout", headers=caller.headers,
                body={"tier": "pro", "successURL": "https://agent.example/"},
            )  # fmt: skip
            assert page.status == 200, page.text
            made = polar_plans.subscribe(polar, page.json["id"])
            await tell("active", made)
            # The gateway heard of it, by the row that it reads with the key.
            await until(is_served)
            await headroom.watch(pool, settings.plans)
            assert await status() == 200
            # And back, when the card is not good any more.
            await tell("past_due", polar_plans.change(polar, made["id"], status="past_due"))
            await rollups.roll_up(pool)
            await headroom.watch(pool, settings.plans)
            await until(is_refused)
            shown = await farebox.agent.ask(
                "GET", f"{origin}/v1/billing/subscription", headers=caller.headers
            )
            assert (shown.json["tier"], shown.json["status"]) == ("free", "past_due")
            # What Polar was paid for is in no account here.
            assert await farebox.is_sound()
