"""What ``farebox doctor`` says of projects' databases: the machine that has them, who runs them, and what is
stuck. Nothing is woken for it.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import asyncpg
from asyncpg import Record

from config.settings import Settings
from control import migrate
from control.computes import files
from control.computes.provider import State
from control.computes.remote import RemoteProvider
from control.doctor import data_of, dsn_of
from control.embedded import binaries, postgres
from control.embedded.directory import DirectoryUnusable
from control.embedded.processes import StartFailed
from control.finding import Finding
from gateway.kit.problem import Refusal
from gateway.kit.sql import OUTAGES, Statements

SQL = Statements(__file__)

# Besides those that a server itself needs: to look into the log, and to know where it ends.
PROGRAMS = ("pg_controldata", "pg_waldump")
FREE_BYTES_MIN = 1 << 30
LATE = timedelta(minutes=5)
LATELY = timedelta(hours=1)
SECONDS_MAX = 15.0


async def databases(settings: Settings) -> AsyncIterator[Finding]:
    is_here = settings.computes.url is None and sys.platform == "linux"
    root = data_of(settings) / "computes"
    if is_here:
        for finding in (room(root), await programs(settings, root)):
            yield finding
    dsn = dsn_of(settings)
    url = settings.computes.url or (url_of(root) if is_here and dsn is not None else None)
    if url is None:
        yield Finding("projects' databases", "run by farebox up, which is not running now")
        return
    key = settings.computes.key
    provider = RemoteProvider(url, None if key is None else key.get_secret_value())
    try:
        async with asyncio.timeout(SECONDS_MAX):
            state = await provider.state()
            remedy = None if state == "ok" else "Look at the log of farebox computes, or correct its URL."
            yield Finding("projects' databases", f"farebox computes: {state}", remedy)
            if dsn is not None:
                async for finding in rows(dsn, provider, is_answering=state == "ok"):
                    yield finding
    except TimeoutError:
        yield Finding(
            "projects' databases", "nobody answered in time", "Look at the log of farebox computes."
        )
    finally:
        await provider.close()


def room(root: Path) -> Finding:
    nearest = next(one for one in (root, *root.parents) if one.is_dir())
    free = shutil.disk_usage(nearest).free
    if not os.access(nearest, os.W_OK):
        return Finding(
            "projects' disk", f"{nearest} cannot be written to",
            "Give it to the user that runs farebox, or choose another one with --data-dir.",
        )  # fmt: skip
    remedy = None if free >= FREE_BYTES_MIN else "Make room: databases stop when their disk is full."
    return Finding("projects' disk", f"{free >> 20} MiB are free in {nearest}", remedy)


async def programs(settings: Settings, root: Path) -> Finding:
    subject = "projects' servers"
    try:
        found = postgres.bin_dir(settings.postgres.bin_dir)
        version = await binaries.version(found / "postgres")
    except StartFailed as error:
        return Finding(subject, str(error), "Install it, or set FAREBOX_POSTGRES__BIN_DIR.")
    missing = [name for name in PROGRAMS if not (found / name).is_file()]
    if missing:
        remedy = "Set FAREBOX_POSTGRES__BIN_DIR to a whole installation."
        return Finding(subject, f"{found} lacks {' and '.join(missing)}", remedy)
    others = sorted(made_by(root) - {version.partition(".")[0]})
    if others:
        remedy = f"Set FAREBOX_POSTGRES__BIN_DIR to the programs of version {others[0]}."
        return Finding(subject, f"{version}, and there is data of PostgreSQL {', '.join(others)}", remedy)
    return Finding(subject, f"PostgreSQL {version} in {found}")


def made_by(root: Path) -> set[str]:
    """The versions of the data that is there."""
    try:
        return {path.read_text().strip() for path in root.glob("timelines/*/pgdata/PG_VERSION")}
    except OSError:
        # Projects' data is for the user that runs farebox alone.
        return set()


def url_of(root: Path) -> str | None:
    if not root.is_dir():
        return None
    try:
        return f"unix:{files.agent_socket(root)}"
    except (OSError, DirectoryUnusable):
        return None


async def rows(dsn: str, provider: RemoteProvider, *, is_answering: bool) -> AsyncIterator[Finding]:
    """Silent where the database is away or of another version: that was said by then."""
    try:
        async with migrate.connected(dsn) as connection:
            await migrate.check(connection)
            counts = await connection.fetchrow(SQL.counts)
            late = await connection.fetch(SQL.late, LATE)
            given_up = await connection.fetch(SQL.given_up, LATELY)
            running = await connection.fetch(SQL.running)
    except (migrate.DatabaseUnreachable, migrate.SchemaError, asyncpg.PostgresError, *OUTAGES):
        return
    assert counts is not None, "it is a row of sums"
    told = f"{counts['open']} to be done, {counts['failed']} failed in a day"
    if late or given_up:
        remedy = (
            "GET /projects/{project_id}/operations says the same to their owners; the worker's log says why."
        )
        yield Finding("operations", f"{told}: {'; '.join(map(sentence, [*late, *given_up]))}", remedy)
    else:
        yield Finding("operations", told)
    if is_answering:
        yield await compared(provider, running, counts["timelines"])


def sentence(row: Record) -> str:
    return f"{row['action']} of project {row['project_id']} ({row['error']})"


async def compared(provider: RemoteProvider, running: Sequence[Record], timelines: int) -> Finding:
    """What is written down as running, with what runs."""
    lost = [row["label"] for row in running if row["status"] == "failed"]
    try:
        for row in running:
            if row["status"] == "active" and (await provider.status(str(row["id"]))).state is State.IDLE:
                lost.append(row["label"])
    except Refusal as error:
        return Finding("computes", str(error), "Correct FAREBOX_COMPUTES__KEY, or look at farebox computes.")
    if lost:
        remedy = "Look at the log of farebox computes, and start them: POST …/endpoints/{id}/start."
        return Finding("computes", f"these should run and do not: {', '.join(lost)}", remedy)
    return Finding("computes", f"{len(running)} run, over {timelines} timelines")
