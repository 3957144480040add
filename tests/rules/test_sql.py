"""Rules about SQL. Postgres reads the statements for us, so no pattern has to guess what they do."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.kit.sql import Pool, Statements

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for top in ("control", "gateway", "plugins")
    for path in ROOT.glob(f"{top}/**/*.sql")
    # A migration is a script; the runner's own table is made by the runner.
    if path.parent.name != "migrations" and path.name != "migrate.sql"
)
MODULES = sorted(path for name in ("control", "gateway", "plugins") for path in ROOT.glob(f"{name}/**/*.py"))


def writes(plan: Any) -> Iterator[str]:
    """The tables that a query plan changes, however deep inside it."""
    if isinstance(plan, list):
        for one in plan:
            yield from writes(one)
    elif isinstance(plan, dict):
        if plan.get("Node Type") == "ModifyTable":
            yield plan["Relation Name"]
        yield from writes(list(plan.values()))


async def tables_written(pool: Pool, statement: str) -> set[str]:
    async with pool.acquire() as connection:
        explain = await connection.prepare(f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {statement}")
        plan = await explain.fetchval(*[None for _ in explain.get_parameters()])
    return set(writes(json.loads(plan)))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
async def test_every_statement_prepares(pool: Pool, path: Path) -> None:
    async with pool.acquire() as connection:
        for statement in Statements(str(path)).by_name.values():
            await connection.prepare(statement)


async def test_a_table_is_written_in_one_place(pool: Pool) -> None:
    owners: dict[str, set[str]] = {}
    for path in FILES:
        for statement in Statements(str(path)).by_name.values():
            for table in await tables_written(pool, statement):
                owners.setdefault(table, set()).add(str(path.parent.relative_to(ROOT)))
    assert owners == {
        "accounts": {"gateway/ledger"},
        "agent_wallets": {"gateway/x402"},
        "answers": {"gateway/answers"},
        "api_keys": {"control/identity"},
        "audit_logs": {"control/api"},
        "assets": {"gateway/ledger"},
        "bonus_cards": {"control/giving"},
        "branch_protections": {"control/postgres"},
        "branches": {"control/postgres"},
        "database_roles": {"control/postgres"},
        "databases": {"control/postgres"},
        "endpoints": {"control/postgres"},
        "operations": {"control/postgres"},
        "egress_runs": {"control/postgres"},
        "timelines": {"control/postgres"},
        "call_counts": {"gateway/ledger"},
        "chain_transactions": {"gateway/x402"},
        "compute_events": {"control/metering"},
        "compute_runs": {"control/metering"},
        "changes": {"gateway"},
        "charge_grants": {"gateway/ledger"},
        "charge_changes": {"control/charges"},
        "charges": {"control/charges"},
        "card_payments": {"control/processors"},
        "card_reversals": {"control/processors"},
        "claim_addresses": {"control/giving"},
        "email_links": {"control/identity"},
        "entries": {"gateway/ledger"},
        "events": {"gateway/ledger"},
        "gas_budgets": {"gateway/x402"},
        "grants": {"gateway/ledger"},
        "hold_grants": {"gateway/ledger"},
        "holds": {"gateway/ledger"},
        "idempotency_keys": {"gateway/ledger"},
        "invites": {"control/identity"},
        "earned_totals": {"control/metering"},
        "invoice_failures": {"control/invoicing"},
        "invoice_lines": {"control/invoicing"},
        "invoice_numbers": {"control/invoicing"},
        "invoice_reminders": {"control/invoicing"},
        "invoice_reopenings": {"control/invoicing"},
        "invoice_runs": {"control/invoicing"},
        "invoices": {"control/invoicing"},
        "key_caps": {"gateway/ledger"},
        "key_uses": {"gateway"},
        "publications": {"control/postgres"},
        "replication_slots": {"control/postgres"},
        "ip_allow": {"control/ip_allow"},
        "vpc_endpoints": {"control/vpc_endpoints"},
        "project_vpc_endpoints": {"control/vpc_endpoints"},
        "idempotent_requests": {"control/api"},
        "low_balances": {"gateway/ledger"},
        "members": {"control/identity"},
        "meter_days": {"control/metering"},
        "meter_readings": {"control/metering"},
        "oauth_connections": {"gateway"},
        "oauth_providers": {"control/providers"},
        "oauth_states": {"control/oauth"},
        "organizations": {"control/identity"},
        "outbox": {"control/mail"},
        # In projects' servers.
        "pg_statistic": {"control/postgres"},
        "pg_statistic_ext_data": {"control/postgres"},
        "payment_events": {"control/processors"},
        "payment_methods": {"control/processors"},
        "payer_failures": {"gateway/x402"},
        "payment_slips": {"gateway/x402"},
        "payments": {"gateway/x402"},
        "payouts": {"gateway/ledger"},
        "processor_customers": {"control/processors"},
        "project_members": {"control/identity"},
        "organization_plans": {"control/quotas"},
        "polar_subscriptions": {"control/processors"},
        "projects": {"control/projects"},
        "quota_blocks": {"control/quotas"},
        "quota_warnings": {"control/quotas"},
        "purses": {"gateway/ledger"},
        "publisher_logos": {"control/publishers"},
        "publisher_prices": {"control/publishers"},
        "publishers": {"control/publishers"},
        "reconciliations": {"control/reconciling"},
        "recoveries": {"control/recovery"},
        "referral_codes": {"control/referral"},
        "referrals": {"control/referral"},
        "refresh_tokens": {"control/identity"},
        "resources": {"gateway"},
        "roles": {"control/permissions"},
        "rollup_marks": {"control/metering"},
        "sessions": {"control/identity"},
        "signers": {"gateway/x402"},
        "slips": {"gateway/ledger"},
        "transfers": {"gateway/ledger"},
        "upstream_payments": {"gateway/rails"},
        "agent_days": {"control/metering"},
        "offer_days": {"gateway/ledger"},
        "route_days": {"control/metering"},
        "usage_days": {"control/metering"},
        "usage_events": {"gateway/ledger"},
        "usage_hours": {"control/metering"},
        "users": {"control/identity"},
        "webhook_attempts": {"control/webhooks"},
        "webhook_deliveries": {"control/webhooks"},
        "webhooks": {"control/webhooks"},
    }


@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        ("INSERT INTO accounts (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET held = 0", {"accounts"}),
        (
            "WITH gone AS (DELETE FROM holds RETURNING 1) UPDATE publishers SET slug = $1",
            {"holds", "publishers"},
        ),
        ("SELECT FROM accounts FOR NO KEY UPDATE", set()),
    ],
)
async def test_writing_is_recognised(pool: Pool, statement: str, tables: set[str]) -> None:
    assert await tables_written(pool, statement) == tables


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sql_stays_in_sql_files(path: Path) -> None:
    verbs = ("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH ")
    texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    assert [text for text in texts if isinstance(text, str) and text.lstrip().startswith(verbs)] == []
