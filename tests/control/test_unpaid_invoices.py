"""What becomes of an invoice that could not be made, and of one that nobody pays."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from config.plans import Invoicing
from control import app
from control.api.ports import Ports
from control.identity.people import Newcomer
from control.invoicing import drafting, issuing, monthly, reminding
from control.invoicing.drafting import Terms
from control.invoicing.lines import Month
from control.metering import rollups
from control.quotas.catalogue import id_of
from control.reconciling import unmade
from gateway.kit.sql import Pool
from gateway.ledger.accounts import PLATFORM
from tests.control.conftest import Client, Member, bearer, join
from tests.control.people import EMAIL, letters, person
from tests.control.test_invoices import (
    AFTER,
    IN_MARCH,
    MARCH,
    drafted,
    issued,
    owed,
    seller,
    subscribed,
    used,
)
from tests.control.test_invoices import many as many
from tests.control.test_invoices import operator as operator
from tests.control.test_invoices import terms as terms

STRICT = Invoicing(suspend_after_days=5)
PROJECT = {"name": "p", "region": "local"}
LATER = (
    "UPDATE invoices SET issued_at = issued_at - $2::interval, due_at = due_at - $2::interval WHERE id = $1"
)


@pytest.fixture
def ports(ports: Ports) -> Ports:
    return replace(ports, settings=ports.settings.model_copy(update={"invoicing": STRICT}))


async def billed(pool: Pool, terms: Terms, at: datetime) -> None:
    while await monthly.bill(pool, terms, at):
        pass


async def states(pool: Pool) -> list[tuple[str, str]]:
    rows = await pool.fetch("SELECT month::text, status FROM invoices ORDER BY month, status")
    return [tuple(row) for row in rows]


async def test_every_month_that_lacks_one_is_made_and_no_older_one(
    pool: Pool, member: Member, terms: Terms
) -> None:
    shop = await seller(pool)
    for days in (400, 300, 20, 0):
        await used(pool, member.id.organization_id, shop, [1000], at=IN_MARCH - timedelta(days=days))
    await billed(pool, terms, AFTER)
    assert await states(pool) == [("2025-05-01", "paid"), ("2026-02-01", "paid"), ("2026-03-01", "paid")]


async def test_what_comes_late_is_made_the_next_day(pool: Pool, member: Member, terms: Terms) -> None:
    await billed(pool, terms, AFTER)
    await used(pool, member.id.organization_id, await seller(pool), [1000])
    await billed(pool, terms, AFTER)
    assert await states(pool) == []
    await pool.execute("UPDATE invoice_runs SET finished_at = now() - interval '25 hours'")
    await asyncio.gather(*(billed(pool, terms, AFTER) for _ in range(4)))
    assert await states(pool) == [("2026-03-01", "paid")]


async def test_what_the_operator_voided_is_not_made_again_by_the_job(
    pool: Pool, member: Member, terms: Terms
) -> None:
    await used(pool, member.id.organization_id, await seller(pool), [1000])
    invoice_id = await drafted(pool, terms, member.id.organization_id)
    async with pool.acquire() as db, db.transaction():
        assert await issuing.void(db, invoice_id)
    await billed(pool, terms, AFTER)
    assert await states(pool) == [("2026-03-01", "void")]


async def test_whose_invoice_fails_keeps_nobody_waiting_and_is_tried_again(
    pool: Pool, terms: Terms, many: list[UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines, broken = drafting.lines, sorted(many)[2]

    async def fail_one(db: Any, terms: Terms, month: Month, organization_id: UUID, mode: Any) -> Any:
        if organization_id == broken:
            raise ZeroDivisionError("no such share")
        return await lines(db, terms, month, organization_id, mode)

    monkeypatch.setattr(drafting, "lines", fail_one)
    await billed(pool, terms, AFTER)
    assert (await monthly.count_failures(pool), len(await states(pool))) == (1, 6)
    assert await pool.fetchval("SELECT error FROM invoice_failures") == "ZeroDivisionError: no such share"
    await pool.execute("UPDATE invoice_runs SET finished_at = now() - interval '61 minutes'")
    await billed(pool, terms, AFTER)
    assert (await monthly.count_failures(pool), len(await states(pool))) == (1, 6)
    monkeypatch.setattr(drafting, "lines", lines)
    await pool.execute("UPDATE invoice_runs SET finished_at = now() - interval '61 minutes'")
    await billed(pool, terms, AFTER)
    assert (await monthly.count_failures(pool), len(await states(pool))) == (0, 7)
    numbers = await pool.fetch("SELECT number FROM invoices ORDER BY number")
    assert [row["number"] for row in numbers] == list(range(1, 8))


async def test_a_clock_that_is_ahead_ends_no_month(
    pool: Pool, member: Member, terms: Terms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's clock is not asked: it may be of another year."""

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(days=31)

    monkeypatch.setattr(monthly, "datetime", Ahead)
    await used(pool, member.id.organization_id, await seller(pool), [1000], at=datetime.now(UTC))
    await monthly.bill(pool, terms)
    assert await states(pool) == []


async def test_reconciling_names_what_was_not_made(
    pool: Pool, member: Member, ports: Ports, terms: Terms
) -> None:
    who = member.id.organization_id
    today = await monthly.today(pool)
    month = next(one for one in monthly.over(today) if one.end < today - timedelta(days=15))
    await used(pool, who, await seller(pool), [1000], at=month.start + timedelta(days=3))
    await subscribed(pool, who, 2900, month.start)
    await rollups.roll_up(pool)
    result = await unmade.compare(pool, ports.settings)
    named = f"invoice of {who} for {month.first:%Y-%m}"
    found = [one.subject for one in result.differences if f"{month.first:%Y-%m}" in one.subject]
    assert found == [f"live {named}", f"test {named}"]
    await billed(pool, terms, today)
    assert (await unmade.compare(pool, ports.settings)).differences == ()


async def listed(client: Client, headers: dict[str, str], query: str) -> set[str]:
    response = await client.get(f"/platform/invoices?{query}", headers=headers)
    assert response.status == 200, await response.text()
    answer = await response.json()
    assert answer["pagination"]["total"] == len(answer["data"])
    return {one["id"] for one in answer["data"]}


async def test_the_operator_sees_everybodys_and_finds_the_unpaid(
    client: Client, pool: Pool, member: Member, terms: Terms, operator: dict[str, str]
) -> None:
    other = await join(pool)
    first, second = [str(await owed(pool, terms, one.id.organization_id)) for one in (member, other)]
    third = str(await drafted_of(pool, terms))
    await pool.execute(LATER, UUID(second), timedelta(days=15))
    assert await listed(client, operator, "") == {first, second, third}
    assert await listed(client, operator, "status=issued&month=2026-03-17") == {first, second}
    assert await listed(client, operator, "status=overdue") == {second}
    assert await listed(client, operator, f"organization_id={member.organization_id}&mode=live") == {first}
    assert await listed(client, operator, "month=2026-02-01") == set()
    assert (await client.get("/platform/invoices")).status == 403
    for bad in ("status=late", "organization_id=x", "month=March"):
        assert (await client.get(f"/platform/invoices?{bad}", headers=operator)).status == 400
    own = await (
        await client.get("/organizations/default/invoices?status=overdue", headers=other.headers)
    ).json()
    assert [(one["id"], one["is_overdue"], one["status"]) for one in own["data"]] == [
        (second, True, "issued")
    ]
    browser = {**other.headers, "Accept": "text/html"}
    assert (
        "to be paid by 20" in await (await client.get(f"/billing/invoices/{second}", headers=browser)).text()
    )


async def drafted_of(pool: Pool, terms: Terms) -> UUID:
    one = await join(pool)
    await used(pool, one.id.organization_id, await seller(pool), [1000])
    return await drafted(pool, terms, one.id.organization_id)


async def stages(pool: Pool) -> list[str]:
    rows = await pool.fetch(
        "SELECT payload ->> 'stage' AS stage FROM events"
        " WHERE type = 'invoice.reminder' ORDER BY created_at, id"
    )
    return [row["stage"] for row in rows]


async def test_reminders_come_once_for_each_stage(client: Client, pool: Pool, terms: Terms) -> None:
    await person(client, pool)
    who = await pool.fetchval(
        "SELECT organization_id FROM members JOIN users ON users.id = user_id WHERE email = $1", EMAIL
    )
    before = len(await letters(pool))
    invoice_id = await owed(pool, terms, who)

    async def wait(days: int) -> list[str]:
        await pool.execute(LATER, invoice_id, timedelta(days=days))
        # Each lateness has its own date, as when time goes by and the invoice stays what it was.
        await pool.execute("UPDATE invoice_reminders SET due_at = (SELECT due_at FROM invoices)")
        await asyncio.gather(*(reminding.remind(pool, STRICT) for _ in range(4)))
        return await stages(pool)

    assert await wait(0) == []
    assert await wait(11) == ["due_soon"]
    assert await wait(3) == ["due_soon", "overdue"]
    assert await wait(1) == ["due_soon", "overdue"]
    assert await wait(4) == ["due_soon", "overdue", "restricted"]
    assert await wait(9) == ["due_soon", "overdue", "restricted"]
    mailed = (await letters(pool))[before:]
    assert len(mailed) == 3
    assert "INV-000001 of 2026-03, 29.00 USD" in mailed[0]
    assert "no new projects" in mailed[2]


async def test_who_was_not_reminded_for_weeks_is_told_the_last_stage_only(
    pool: Pool, member: Member, terms: Terms
) -> None:
    invoice_id = await owed(pool, terms, member.id.organization_id)
    await pool.execute(LATER, invoice_id, timedelta(days=100))
    assert await reminding.remind(pool, Invoicing()) == 1
    assert await stages(pool) == ["overdue_still"]
    assert await reminding.count_overdue(pool) == 1
    async with pool.acquire() as db, db.transaction():
        assert await issuing.void(db, invoice_id)
    assert await reminding.remind(pool, STRICT) == 0
    assert await reminding.count_overdue(pool) == 0


async def test_who_does_not_pay_makes_no_project_and_chooses_no_paid_plan(
    client: Client, pool: Pool, member: Member, terms: Terms, ports: Ports
) -> None:
    invoice_id = await owed(pool, terms, member.id.organization_id)
    live = await bearer(pool, member.id, mode="live")
    free, paid = [{"plan_id": str(id_of(one))} for one in ports.settings.plans[:2]]

    async def ask(path: str, body: dict[str, Any]) -> tuple[int, str | None]:
        response = await client.post(path, json=body, headers=live)
        return response.status, (await response.json()).get("code")

    await pool.execute(LATER, invoice_id, timedelta(days=14 + 4))
    assert (await ask("/projects", PROJECT))[0] == 201
    await pool.execute(LATER, invoice_id, timedelta(days=1))
    assert await ask("/projects", PROJECT) == (402, "invoice-overdue")
    assert await ask("/v1/projects", {"name": "p"}) == (402, "invoice_overdue")
    plan = "/organizations/default/plan"
    assert await ask(plan, paid) == (402, "invoice-overdue")
    refused = await (await client.post(plan, json=paid, headers=live)).json()
    assert "INV-000001" in refused["detail"]
    assert str(invoice_id) in refused["detail"]
    assert (await ask(plan, free))[0] == 200
    async with pool.acquire() as db, db.transaction():
        assert await issuing.void(db, invoice_id)
    assert (await ask("/projects", PROJECT))[0] == 201


async def test_where_the_operator_sets_no_days_nobody_is_restricted(
    pool: Pool, ports: Ports, member: Member, terms: Terms, aiohttp_client: AiohttpClient
) -> None:
    lenient = replace(ports, settings=ports.settings.model_copy(update={"invoicing": Invoicing()}))
    client = await aiohttp_client(app.create(pool, lenient), headers=member.headers)
    invoice_id = await owed(pool, terms, member.id.organization_id)
    await pool.execute(LATER, invoice_id, timedelta(days=300))
    assert (await client.post("/projects", json=PROJECT)).status == 201


@pytest.fixture
async def team(client: Client, pool: Pool, member: Member) -> tuple[str, UUID, dict[str, str]]:
    """An organization that can be deleted, by its name under /v1, and its owner's key."""
    made = await client.post("/v1/orgs", json={"name": "Team"})
    named = (await made.json())["org"]["id"]
    who = await pool.fetchval("SELECT id FROM organizations WHERE NOT is_personal AND id <> $1", PLATFORM)
    return named, who, await bearer(pool, Newcomer(member.id.user_id, who, member.id.created_at))


async def test_who_does_not_pay_starts_anew_in_no_team(
    client: Client, pool: Pool, member: Member, terms: Terms, team: tuple[str, UUID, dict[str, str]]
) -> None:
    at, headers = "/projects", team[2]
    invoice_id = await owed(pool, terms, member.id.organization_id)
    await pool.execute(LATER, invoice_id, timedelta(days=14 + 5))
    refused = await client.post(at, json=PROJECT, headers=headers)
    problem = await refused.json()
    assert (refused.status, problem["code"]) == (402, "invoice-overdue")
    # Whoever else is in the team is not told what the other one owes.
    assert "INV-" not in problem["detail"]
    assert str(invoice_id) not in problem["detail"]
    # Who left it to others to pay is free.
    await pool.execute(
        "UPDATE members SET role = 'viewer' WHERE organization_id = $1", member.id.organization_id
    )
    assert (await client.post(at, json=PROJECT, headers=headers)).status == 201


async def deleted(client: Client, team: tuple[str, UUID, dict[str, str]]) -> tuple[int, str]:
    response = await client.delete(f"/v1/orgs/{team[0]}", headers=team[2])
    answer = await response.json()
    return response.status, answer.get("detail", "")


async def test_an_organization_is_not_deleted_before_its_last_month_is_invoiced_and_paid(
    client: Client, pool: Pool, terms: Terms, team: tuple[str, UUID, dict[str, str]]
) -> None:
    who = team[1]
    today = await monthly.today(pool)
    await subscribed(pool, who, 2900, today.replace(day=1, hour=0, minute=0, second=0, microsecond=0))
    status, detail = await deleted(client, team)
    assert (status, detail.split()[0]) == (400, f"{today:%Y-%m}")
    # It ended, and the month was invoiced and paid.
    await pool.execute("UPDATE organization_plans SET started_at = $1, ends_at = $2", MARCH.start, MARCH.end)
    status, detail = await deleted(client, team)
    assert (status, detail.split()[0]) == (400, "2026-03")
    (invoice_id,) = await drafting.draft(pool, terms, MARCH, who)
    await issued(pool, terms, invoice_id)
    assert (await deleted(client, team))[0] == 400
    async with pool.acquire() as db, db.transaction():
        assert await issuing.void(db, invoice_id)
    assert (await deleted(client, team))[0] == 200


async def test_calls_alone_keep_no_organization_because_they_are_paid(
    client: Client, pool: Pool, terms: Terms, team: tuple[str, UUID, dict[str, str]]
) -> None:
    await used(pool, team[1], await seller(pool), [1000], at=datetime.now(UTC))
    await rollups.roll_up(pool)
    assert (await deleted(client, team))[0] == 200


async def test_a_test_key_does_not_owe_live_money_for_a_plan(
    client: Client, pool: Pool, member: Member, ports: Ports
) -> None:
    plan, body = "/organizations/default/plan", {"plan_id": str(id_of(ports.settings.plans[1]))}
    refused = await client.post(plan, json=body)
    assert (refused.status, (await refused.json())["detail"]) == (
        403, "plans are paid in live money, and this key is for test money",
    )  # fmt: skip
    live = await bearer(pool, member.id, mode="live")
    assert (await client.post(plan, json=body, headers=live)).status == 200
    assert await pool.fetchval("SELECT tier FROM organization_plans") == ports.settings.plans[1].id
