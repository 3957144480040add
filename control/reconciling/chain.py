"""Settled payments against the chain: each has a transaction that moved exactly what the payer signed."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from uuid import UUID

from asyncpg import Record

from config.settings import Network
from control.reconciling.checks import SHOWN_MAX, Difference, Result
from gateway.kit.sql import Pool, Statements
from gateway.x402.chain import Chain, NodeRefused, entry
from gateway.x402.facilitator import FacilitatorUnavailable
from gateway.x402.token import is_proof

SQL = Statements(__file__)

NAME = "chain"
MEANING = "each payment that settled lately is on its chain, as signed"
BATCH = 50


async def compare(pool: Pool, networks: Sequence[Network], lately: timedelta) -> AsyncIterator[Result]:
    """One result, of all networks with a node to ask. A payment on another cannot be looked up."""
    differences: list[Difference] = []
    obstacles: list[str] = []
    since, after = datetime.now(UTC) - lately, UUID(int=0)
    async with AsyncExitStack() as stack:
        chains = {}
        for one in networks:
            if one.rpc_url is not None:
                chains[one.id] = Chain(one.rpc_url)
                stack.push_async_callback(chains[one.id].close)
        while batch := await pool.fetch(SQL.settled, since, after, BATCH):
            after = batch[-1]["id"]
            for network in sorted({row["network"] for row in batch}):
                rows = [row for row in batch if row["network"] == network]
                if network not in chains:
                    obstacles.append(f"{network} has no rpc_url in the settings")
                    continue
                try:
                    differences += await look(chains[network], rows)
                except (FacilitatorUnavailable, NodeRefused) as error:
                    obstacles.append(f"{network}: {error}")
                    # Nothing more is asked of a node that does not answer.
                    del chains[network]
    told = "; ".join(dict.fromkeys(obstacles)) or None
    yield Result(NAME, MEANING, tuple(differences[:SHOWN_MAX]), told)


async def look(chain: Chain, rows: Sequence[Record]) -> list[Difference]:
    known = [row for row in rows if row["known_hash"] is not None]
    found = [
        Difference(f"payment {row['id']}", "a transaction", "none is recorded")
        for row in rows
        if row["known_hash"] is None
    ]
    questions = [("eth_getTransactionReceipt", ["0x" + row["known_hash"].hex()]) for row in known]
    receipts = await chain.ask_all(*questions) if questions else []
    for row, answer in zip(known, receipts, strict=True):
        receipt = entry(answer)
        transfer = (row["asset"], row["payer"], row["pay_to"], int(row["amount"]))
        if receipt is None or not is_proof(receipt, *transfer):
            expected = f"{row['amount']} from {row['payer']} to {row['pay_to']}"
            said = "is not there" if receipt is None else "did something else"
            found.append(Difference(f"payment {row['id']}", expected, f"0x{row['known_hash'].hex()} {said}"))
    return found
