"""Invoices: made once, numbered without gaps, paid once, and printed."""

import asyncio
import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.api.ports import Ports
from control.identity import people
from control.identity.people import Newcomer
from control.invoicing import drafting, issuing, monthly, paying
from control.invoicing.drafting import Terms
from control.invoicing.issuing import WrongState
from control.invoicing.lines import Month
from control.invoicing.paying import AmountDiffers
from control.metering import rollups
from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import accounts, usage
from gateway.ledger.accounts import PLATFORM
from gateway.ledger.moves import Short
from gateway.ledger.usage import Usage
from tests.arrivals import arrive
from tests.control.conftest import LIVE_USDC, TEST_CENT, TEST_USDC, Client, Member, bearer, join

MARCH = Month(date(2026, 3, 1))
IN_MARCH = MARCH.start + timedelta(days=3)
SOLD = "SELECT coalesce(sum(cost), 0)::numeric FROM usage_events WHERE organization_id = $1 AND asset_id = $2"
BOOKED = """
SELECT kind, posted FROM accounts WHERE owner_id = $1 AND asset_id = $2 AND posted <> 0 ORDER BY kind
"""
TOLD = "SELECT type, payload FROM events WHERE organization_id = $1 ORDER BY created_at"
ON_LINES = """
SELECT coalesce(sum(amount_atomic), 0)::numeric FROM invoice_lines JOIN invoices ON invoices.id = invoice_id
WHERE organization_id = $1 AND invoice_lines.asset_id = $2 AND line_type = 'calls'
"""


@pytest.fixture
def terms(ports: Ports) -> Terms:
    return drafting.terms(ports.settings.plans, ports.settings.networks)


@pytest.fixture
async def operator(pool: Pool, member: Member) -> dict[str, str]:
    one = await people.create(pool, "agent", "Operator", None)
    await pool.execute(
        "INSERT INTO members (organization_id, user_id, role) VALUES ($1, $2, 'owner')", PLATFORM, one.user_id
    )
    return await bearer(pool, Newcomer(one.user_id, PLATFORM, one.created_at))


async def seller(pool: Pool, name: str = "Weather <b>") -> UUID:
    publisher_id = uuid4()
    await pool.execute(
        "INSERT INTO publishers (id, organization_id, slug, name, category, wallet_address,"
        " wallet_network_id, auth_type)"
        " VALUES ($1, $2, $3, $4, 'integration', '0x', 'eip155:84532', 'static')",
        publisher_id, PLATFORM, str(publisher_id), name,
    )  # fmt: skip
    return publisher_id


async def used(
    pool: Pool, who: UUID, publisher_id: UUID, costs: list[int], asset_id: UUID = TEST_USDC,
    at: datetime = IN_MARCH,
) -> None:  # fmt: skip
    events = [
        Usage(ids.new(), publisher_id, who, None, "prepaid", "GET", "/x", "charged", 200, asset_id, cost)
        for cost in costs
    ]
    await usage.record(pool, events)
    await pool.execute(
        "UPDATE usage_events SET created_at = $2 WHERE call_id = ANY ($1::uuid[])",
        [one.call_id for one in events],
        at,
    )


async def subscribed(pool: Pool, who: UUID, cents: int, since: datetime = MARCH.start) -> None:
    await pool.execute(
        "INSERT INTO organization_plans"
        " (id, organization_id, plan_id, tier, plan_name, price_cents, started_at)"
        " VALUES ($1, $2, $3, 'pro', 'Pro', $4, $5)",
        uuid4(), who, uuid4(), cents, since,
    )  # fmt: skip


async def drafted(pool: Pool, terms: Terms, who: UUID) -> UUID:
    await rollups.roll_up(pool)
    (invoice_id,) = await drafting.draft(pool, terms, MARCH, who)
    return invoice_id


async def issued(pool: Pool, terms: Terms, invoice_id: UUID) -> None:
    async with pool.acquire() as db, db.transaction():
        assert await issuing.issue(db, terms, invoice_id)


async def owed(pool: Pool, terms: Terms, who: UUID, cents: int = 2900) -> UUID:
    """An issued invoice."""
    await subscribed(pool, who, cents)
    invoice_id = await drafted(pool, terms, who)
    await issued(pool, terms, invoice_id)
    return invoice_id


GENERATE = {"year": 2026, "month": 3}


async def generated(client: Client, operator: dict[str, str], **body: Any) -> list[str]:
    response = await client.post("/billing/invoices/generate", json=body or GENERATE, headers=operator)
    answer = await response.json()
    assert response.status == 200, answer
    assert answer["data"]["count"] == len(answer["data"]["invoice_ids"])
    return list(answer["data"]["invoice_ids"])


async def test_an_invoice_says_what_was_used_and_what_is_due(
    client: Client, pool: Pool, member: Member, operator: dict[str, str]
) -> None:
    who, shop = member.id.organization_id, await seller(pool)
    await used(pool, who, shop, [1234, 5_000_000, 1])
    await used(pool, who, shop, [7], TEST_CENT)
    await used(pool, who, shop, [99_999], at=MARCH.end)
    await subscribed(pool, who, 3100, MARCH.start + timedelta(days=21))
    live_id, test_id = await generated(client, operator)
    shown = {}
    for one in (live_id, test_id):
        response = await client.get(f"/billing/invoices/{one}")
        assert response.status == 200
        data = (await response.json())["data"]
        shown[data["mode"]] = data
    live, test = shown["live"], shown["test"]
    assert (live["total_usd"], live["status"], live["invoice_number"]) == ("10.00", "draft", "DRAFT")
    assert [line["line_type"] for line in live["line_items"]] == ["plan"]
    assert (test["period_start"], test["period_end"]) == ("2026-03-01", "2026-03-31")
    columns = ("line_type", "quantity", "amount_usd", "amount_atomic")
    lines = [tuple(one[name] for name in columns) for one in test["line_items"]]
    assert lines == [
        ("calls", "1", "0.07", 7),
        ("paid", "1", "-0.07", -7),
        ("calls", "3", "5.00", 5_001_235),
        ("paid", "1", "-5.00", -5_001_235),
    ]
    assert test["total_usd"] == "0.00"
    listed = await (await client.get("/organizations/default/invoices")).json()
    assert {one["id"] for one in listed["data"]} == {live_id, test_id}


async def test_call_lines_are_usage_to_the_atomic_unit(pool: Pool, member: Member, terms: Terms) -> None:
    who = member.id.organization_id
    for shop in [await seller(pool, name) for name in ("a", "b")]:
        await used(pool, who, shop, [n * 333 + 1 for n in range(40)])
        await used(pool, who, shop, [n * 7 + 1 for n in range(40)], LIVE_USDC)
    await rollups.roll_up(pool)
    assert len(await drafting.draft(pool, terms, MARCH, who)) == 2
    for asset_id in (TEST_USDC, LIVE_USDC):
        assert await pool.fetchval(ON_LINES, who, asset_id) == await pool.fetchval(SOLD, who, asset_id)
    sums = await pool.fetch(
        "SELECT total_cents, sum(amount_cents)::bigint AS lines"
        " FROM invoices JOIN invoice_lines ON invoice_id = id GROUP BY id"
    )
    assert all(row["total_cents"] == row["lines"] for row in sums)


async def test_ten_at_once_make_one_invoice_for_each(
    client: Client, pool: Pool, member: Member, operator: dict[str, str]
) -> None:
    shop = await seller(pool)
    others = [await join(pool) for _ in range(5)]
    for one in [member, *others]:
        await used(pool, one.id.organization_id, shop, [1000])
    made = await asyncio.gather(*(generated(client, operator) for _ in range(10)))
    assert len({tuple(one) for one in made}) == 1
    assert await pool.fetchval("SELECT count(*) FROM invoices") == 6
    assert await pool.fetchval("SELECT count(*) FROM invoice_lines") == 12


async def test_generated_again_a_draft_is_brought_up_to_date_and_an_issued_one_is_not(
    client: Client, pool: Pool, member: Member, operator: dict[str, str]
) -> None:
    who, shop = member.id.organization_id, await seller(pool)
    await used(pool, who, shop, [1000])
    (one,) = await generated(client, operator)
    await used(pool, who, shop, [500])
    assert await generated(client, operator) == [one]
    assert await pool.fetchval(ON_LINES, who, TEST_USDC) == 1500
    assert (await client.post(f"/billing/invoices/{one}/issue", headers=operator)).status == 200
    await used(pool, who, shop, [500])
    assert await generated(client, operator) == [one]
    assert await pool.fetchval(ON_LINES, who, TEST_USDC) == 1500
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute("UPDATE invoice_lines SET amount_cents = 0")


@pytest.mark.parametrize(
    "body",
    [{"year": 2026}, {"year": 2026, "month": 13}, {"year": 9998, "month": 12}, {"year": "x", "month": 1}],
)
async def test_a_month_that_is_none_or_not_over_is_refused(
    client: Client, operator: dict[str, str], body: dict[str, Any]
) -> None:
    response = await client.post("/billing/invoices/generate", json=body, headers=operator)
    assert response.status == 400


async def test_this_month_is_refused(client: Client, operator: dict[str, str]) -> None:
    now = datetime.now(UTC)
    body = {"year": now.year, "month": now.month}
    response = await client.post("/billing/invoices/generate", json=body, headers=operator)
    assert (response.status, (await response.json())["errors"][0]["pointer"]) == (400, "body/month")


async def test_numbers_have_no_gaps_whoever_fails(pool: Pool, member: Member, terms: Terms) -> None:
    shop = await seller(pool)
    made = []
    for one in [await join(pool) for _ in range(12)]:
        await used(pool, one.id.organization_id, shop, [1000])
        made.append(await drafted(pool, terms, one.id.organization_id))

    async def issue(invoice_id: UUID, *, is_failing: bool) -> None:
        try:
            async with pool.acquire() as db, db.transaction():
                await issuing.issue(db, terms, invoice_id)
                if is_failing:
                    raise RuntimeError
        except (RuntimeError, WrongState):
            return

    await asyncio.gather(*(issue(one, is_failing=bad) for one in made for bad in (True, False, True, False)))
    numbers = await pool.fetch("SELECT number FROM invoices ORDER BY number")
    assert [row["number"] for row in numbers] == list(range(1, 13))


async def test_nothing_due_is_paid_when_it_is_issued(pool: Pool, member: Member, terms: Terms) -> None:
    await used(pool, member.id.organization_id, await seller(pool), [1000])
    invoice_id = await drafted(pool, terms, member.id.organization_id)
    await issued(pool, terms, invoice_id)
    assert await pool.fetchval("SELECT status FROM invoices") == "paid"


async def test_an_invoice_is_paid_once(pool: Pool, member: Member, terms: Terms) -> None:
    who = member.id.organization_id
    invoice_id = await owed(pool, terms, who)

    async def pay() -> bool:
        async with pool.acquire() as db, db.transaction():
            return await paying.mark_paid(db, invoice_id, 2900, "stripe", "pi_1")

    assert sorted(await asyncio.gather(*(pay() for _ in range(10)))) == [False] * 9 + [True]
    booked = await pool.fetch(BOOKED, PLATFORM, LIVE_USDC)
    assert [tuple(row) for row in booked] == [("revenue", 29_000_000), ("stripe", -29_000_000)]
    told = await pool.fetch(TOLD, who)
    assert [row["type"] for row in told] == ["invoice.issued", "invoice.paid"]
    assert told[1]["payload"]["total_usd"] == "29.00"


async def test_an_invoice_is_paid_from_the_wallet_if_it_has_enough(
    pool: Pool, member: Member, terms: Terms
) -> None:
    who = member.id.organization_id
    invoice_id = await owed(pool, terms, who)
    wallet = await accounts.ensure(pool, who, LIVE_USDC, "funded")
    await arrive(pool, wallet, LIVE_USDC, 28_999_999, "a deposit")
    async with pool.acquire() as db, db.transaction():
        with pytest.raises(Short):
            await paying.mark_paid(db, invoice_id, 2900, "wallet", "")
        with pytest.raises(AmountDiffers, match=r"28\.99 came in and 29\.00 is due"):
            await paying.mark_paid(db, invoice_id, 2899, "wallet", "")
    assert await pool.fetchval("SELECT status FROM invoices") == "issued"
    await arrive(pool, wallet, LIVE_USDC, 1, "another")
    async with pool.acquire() as db, db.transaction():
        assert await paying.mark_paid(db, invoice_id, 2900, "wallet", "")
    assert await accounts.available(pool, who, LIVE_USDC) == 0


async def test_of_paying_and_voiding_at_once_one_wins(
    client: Client, pool: Pool, member: Member, terms: Terms, operator: dict[str, str]
) -> None:
    for _ in range(5):
        who = (await join(pool)).id.organization_id
        invoice_id = await owed(pool, terms, who)

        async def pay(invoice_id: UUID) -> bool:
            async with pool.acquire() as db, db.transaction():
                return await paying.mark_paid(db, invoice_id, 2900, "stripe", "pi_2")

        async def void(invoice_id: UUID) -> bool:
            path = f"/platform/invoices/{invoice_id}/void"
            return (await client.post(path, headers=operator)).status == 200

        paid, voided = await asyncio.gather(pay(invoice_id), void(invoice_id))
        assert paid != voided
        status = await pool.fetchval("SELECT status FROM invoices WHERE id = $1", invoice_id)
        assert status == ("paid" if paid else "void")
        moved = await pool.fetchval("SELECT count(*) FROM transfers WHERE cause_id = $1", invoice_id)
        assert moved == paid


async def test_an_organization_that_owes_is_not_deleted(
    client: Client, pool: Pool, member: Member, terms: Terms
) -> None:
    made = await client.post("/v1/orgs", json={"name": "Team"})
    team = (await made.json())["org"]["id"]
    who = await pool.fetchval("SELECT id FROM organizations WHERE NOT is_personal AND id <> $1", PLATFORM)
    invoice_id = await owed(pool, terms, who)
    headers = await bearer(pool, Newcomer(member.id.user_id, who, member.id.created_at))
    assert (await client.delete(f"/v1/orgs/{team}", headers=headers)).status == 400
    async with pool.acquire() as db, db.transaction():
        assert await issuing.void(db, invoice_id)
    await pool.execute("UPDATE organization_plans SET ends_at = $1", MARCH.end)
    assert (await client.delete(f"/v1/orgs/{team}", headers=headers)).status == 200


@pytest.mark.parametrize("first", ["issue", "void", "pay"])
async def test_what_may_be_done_in_which_state(
    client: Client, pool: Pool, member: Member, terms: Terms, operator: dict[str, str], first: str
) -> None:
    await subscribed(pool, member.id.organization_id, 2900)
    invoice_id = await drafted(pool, terms, member.id.organization_id)

    async def pay() -> bool:
        async with pool.acquire() as db, db.transaction():
            return await paying.mark_paid(db, invoice_id, 2900, "bank", "by hand")

    async def ask(path: str) -> int:
        return (await client.post(path, headers=operator)).status

    issue, void = f"/billing/invoices/{invoice_id}/issue", f"/platform/invoices/{invoice_id}/void"
    assert not await pay()
    if first == "void":
        assert [await ask(void), await ask(void), await ask(issue), await pay()] == [200, 409, 409, False]
        # Another one may be made for the month.
        assert len(await drafting.draft(pool, terms, MARCH, member.id.organization_id)) == 1
    if first == "issue":
        assert [await ask(issue), await ask(issue), await ask(void), await pay()] == [200, 409, 200, False]
        assert await pool.fetchval("SELECT number FROM invoices") == 1
    if first == "pay":
        assert [await ask(issue), await pay(), await ask(void), await ask(issue)] == [200, True, 409, 409]


async def test_only_its_own_people_and_the_operator_see_an_invoice(
    client: Client, stranger: Client, pool: Pool, member: Member, terms: Terms, operator: dict[str, str]
) -> None:
    await used(pool, member.id.organization_id, await seller(pool), [1000])
    url = f"/billing/invoices/{await drafted(pool, terms, member.id.organization_id)}"
    foreign = (await join(pool)).headers
    statuses = [
        (await stranger.get(url, headers=one)).status for one in ({}, foreign, member.headers, operator)
    ]
    assert statuses == [401, 404, 200, 200]
    unknown = f"/billing/invoices/{uuid4()}"
    answers = [await (await stranger.get(one, headers=foreign)).json() for one in (url, unknown)]
    assert {one["title"] for one in answers} == {"Not found"}
    for path in (f"{url}/issue", "/billing/invoices/generate"):
        assert (await client.post(path, json=GENERATE)).status == 403
    missing = await stranger.post(f"{unknown}/issue", headers=operator)
    gone = await stranger.post(f"/platform/invoices/{uuid4()}/void", headers=operator)
    assert (missing.status, gone.status) == (404, 404)


async def test_a_browser_gets_a_page_to_print(
    client: Client, pool: Pool, member: Member, terms: Terms
) -> None:
    await used(pool, member.id.organization_id, await seller(pool, "<script>alert(1)</script>"), [1000])
    url = f"/billing/invoices/{await drafted(pool, terms, member.id.organization_id)}"
    response = await client.get(url, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    text = await response.text()
    assert (response.status, response.content_type) == (200, "text/html")
    # Of one that is paid or void as well, so it is not called what is due.
    assert ">Total<" in await response.text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script" not in text
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert response.headers["Vary"] == "Accept"
    for accept in ("*/*", "application/json", "application/json, text/html", "image/png"):
        response = await client.get(url, headers={"Accept": accept})
        assert response.content_type == "application/json", accept


@pytest.fixture
async def many(pool: Pool, member: Member) -> list[UUID]:
    shop = await seller(pool)
    who = [(await join(pool)).id.organization_id for _ in range(7)]
    for one in who:
        await used(pool, one, shop, [1000])
    await rollups.roll_up(pool)
    return who


AFTER = MARCH.end + timedelta(minutes=31)


class Killed(BaseException):
    """As a process that is gone: nothing catches it."""


async def test_the_month_is_billed_once_by_many_replicas(
    pool: Pool, terms: Terms, many: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafting, "BATCH", 2)
    assert await monthly.bill(pool, terms, MARCH.end + timedelta(minutes=1)) == 0
    for _ in range(6):
        await asyncio.gather(*(monthly.bill(pool, terms, AFTER) for _ in range(4)))
    rows = await pool.fetch("SELECT organization_id, status, number FROM invoices ORDER BY number")
    assert sorted(row["organization_id"] for row in rows) == sorted(many)
    assert [(row["status"], row["number"]) for row in rows] == [("paid", n) for n in range(1, 8)]
    assert await pool.fetchval("SELECT finished_at IS NOT NULL FROM invoice_runs")
    assert await monthly.bill(pool, terms, AFTER + timedelta(days=20)) == 0


@pytest.mark.parametrize("dies_at", range(1, 6))
async def test_a_crash_between_steps_leaves_out_none_and_makes_none_twice(
    pool: Pool, terms: Terms, many: list[UUID], monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    steps = itertools.count(1)
    issue, draft = issuing.issue, drafting.draft

    def stumble() -> None:
        if next(steps) == dies_at:
            raise Killed

    async def issue_or_die(*args: Any) -> bool:
        stumble()
        done = await issue(*args)
        stumble()
        return done

    async def draft_or_die(*args: Any) -> list[UUID]:
        stumble()
        return await draft(*args)

    monkeypatch.setattr(issuing, "issue", issue_or_die)
    monkeypatch.setattr(drafting, "draft", draft_or_die)
    with pytest.raises(Killed):
        await monthly.bill(pool, terms, AFTER)
    # The dead one's lease is over.
    await pool.execute("UPDATE invoice_runs SET leased_until = now()")
    while await monthly.bill(pool, terms, AFTER):
        pass
    rows = await pool.fetch("SELECT status, number FROM invoices ORDER BY number")
    assert [(row["status"], row["number"]) for row in rows] == [("paid", n) for n in range(1, 8)]


async def test_money_of_one_mode_is_not_on_the_invoice_of_the_other(
    pool: Pool, ports: Ports, aiohttp_client: AiohttpClient, member: Member, terms: Terms
) -> None:
    client = await aiohttp_client(app.create(pool, ports), headers=member.headers)
    who, shop = member.id.organization_id, await seller(pool)
    await used(pool, who, shop, [1000], LIVE_USDC)
    await used(pool, who, shop, [2000], TEST_USDC)
    await rollups.roll_up(pool)
    await drafting.draft(pool, terms, MARCH, who)
    listed = (await (await client.get("/organizations/default/invoices?limit=1")).json())["pagination"]
    assert (listed["total"], listed["has_more"]) == (2, True)
    rows = await pool.fetch(
        "SELECT mode, sum(amount_atomic)::numeric AS sold FROM invoices JOIN invoice_lines ON invoice_id = id"
        " WHERE line_type = 'calls' GROUP BY mode ORDER BY mode"
    )
    assert [tuple(row) for row in rows] == [("live", 1000), ("test", 2000)]
