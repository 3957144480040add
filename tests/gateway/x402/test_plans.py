"""What runs for every payment finds its rows by their keys, whatever the statistics say."""

import re

import pytest

from gateway.kit.sql import create_pool
from gateway.x402 import payments, transactions

STATEMENTS = {
    "claim": payments.SQL.claim, "claim and sum": payments.SQL.claim_and_sum,
    "promised": payments.SQL.promised, "submit": transactions.SUBMIT,
    "submit one by one": payments.SUBMIT, "share": transactions.SQL.share,
    "settle and book": payments.SETTLE, "void": payments.SQL.void, "fail": payments.SQL.fail,
    "find": payments.SQL.find, "get": payments.SQL.get, "of_payments": transactions.SQL.of_payments,
}  # fmt: skip
# Of payments that are under way: each of them had a place in it, which stays until the table is vacuumed.
OF_ALL = re.compile(r"payments_(created_at|coalesce)_idx")


@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize("name", STATEMENTS)
async def test_no_statement_reads_all_that_are_under_way(server: str, database: str, name: str) -> None:
    async with create_pool(server, database=database, is_planned_once=True) as pool, pool.acquire() as one:
        explain = await one.prepare(f"EXPLAIN (GENERIC_PLAN, COSTS OFF) {STATEMENTS[name]}")
        rows = await explain.fetch(*[None for _ in explain.get_parameters()])
    lines = [row[0].strip() for row in rows]
    scans = [at for at, line in enumerate(lines) if re.search(r"(Index|Index Only|Seq|Tid) Scan", line)]
    assert all("Index Cond" in lines[at + 1] for at in scans), lines
    assert not [line for line in lines if OF_ALL.search(line)], lines
