"""``farebox reconcile``."""

import asyncio
import json
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from control.cli.servers import Config, DataDir


def reconcile(
    data_dir: DataDir = None,
    config: Config = None,
    days: Annotated[
        int, typer.Option(min=1, max=3650, help="How far back payments are looked up on their chain.")
    ] = 30,
    is_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object at the end instead of lines.")
    ] = False,
) -> None:
    """Compare ledger, usage, invoices, payment providers and chain, and name every difference.

    Prints a line for each comparison and one for each difference. Exits with 1 if there is a difference, with
    3 if there is none but something could not be compared. It only reads, and may run beside everything else;
    "farebox worker" does the same each night.
    """
    differences, obstacles = asyncio.run(compared(data_dir, config, timedelta(days=days), is_json=is_json))
    if differences:
        raise typer.Exit(1)
    if obstacles:
        raise typer.Exit(3)


async def compared(
    data_dir: Path | None, config: Path | None, lately: timedelta, *, is_json: bool
) -> tuple[int, int]:
    from control import migrate
    from control.cli import installation
    from control.reconciling import runs
    from control.reconciling.checks import Report
    from gateway.kit import sql

    chosen = installation.load(config, data_dir)
    dsn = installation.dsn_of(chosen)
    await migrate.check(dsn)
    results = []
    async with sql.create_pool(dsn, size_max=2) as pool:
        run_id = await runs.begin(pool)
        async for result in runs.compare(pool, chosen, lately):
            results.append(result)
            if is_json:
                continue
            standing = "wrong" if result.differences else "no    " if result.obstacle else "ok    "
            print(f"{standing:<6} {result.name}: {result.meaning}", flush=True)
            if result.obstacle:
                print(f"       not compared: {result.obstacle}", flush=True)
            for one in result.differences:
                print(f"       {one.subject}: expected {one.expected}, found {one.found}", flush=True)
        report = Report(tuple(results))
        await runs.finish(pool, run_id, report)
    if is_json:
        print(json.dumps({"results": [asdict(one) for one in results]}, indent=1))
    else:
        print(f"{report.differences} differences, {report.obstacles} not compared", flush=True)
    return report.differences, report.obstacles
