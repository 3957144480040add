"""A new timeline out of another one's history: a base, the WAL after it, and a server that replays it."""

import asyncio
import logging
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import asyncpg

from control.computes import bases, copying, programs, settings, shortage
from control.computes.bases import Base
from control.computes.files import Place, Record, Store, write_rules
from control.computes.programs import lsn_number, lsn_text
from control.computes.provider import HEAD, At
from control.embedded import binaries, directory, postgres, processes
from control.embedded.postgres import Cluster
from control.embedded.processes import Command, StartFailed
from gateway.kit.sql import OUTAGES

log = logging.getLogger(__name__)

# A checkpoint at the end of a long replay takes its time; nothing else has to wait for it.
STOPS = ((signal.SIGINT, 300.0), (signal.SIGQUIT, 5.0))

PAST_THE_END = "recovery ended before configured recovery target was reached"


# Of a superuser's sessions where a tenant can make functions: one in a schema of theirs that fits better than
# the server's own would be called in its place. A database's owner may say who sessions in it act as, too.
OWN_SESSIONS = {
    "application_name": "farebox",
    "role": "none",
    "search_path": "pg_catalog, pg_temp",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
}


class PastTheEnd(Exception):
    """Nothing was written after the point that was asked for: it is the head."""


def locate(store: Store, timeline: str, at: At) -> tuple[Place, Base, At]:
    """Whose history has the point, and where replaying begins."""
    place = store.place(timeline)
    while (base := bases.newest_before(place, at)) is None:
        assert at.lsn is not None, "every timeline has a base, and its head is behind it"
        parent = bases.parent_with(place, place.record(), lsn_number(at.lsn))
        if parent is None:
            raise bases.refuse_before(place)
        place, limit = parent
        at = at if lsn_number(at.lsn) < limit else At(lsn=lsn_text(limit))
    return place, base, at


def copy(store: Store, source: Place, base: Base, partial: Place, uid: int | None) -> None:
    """The parent is only read."""
    copying.copy_cluster(base.data, partial.data, with_wal=True)
    is_same_user = source.record().uid == uid
    if not is_same_user:
        copying.give(partial.data, uid)
    wal = partial.data / "pg_wal"
    for path in wal.iterdir():
        # Of the base's moment; the archive and the live directory have newer contents under these names.
        if path.is_file():
            path.unlink()
    bases.collect_wal(source, base.first_wal, wal, may_link=is_same_user)
    if not is_same_user:
        copying.give(wal, uid)
    signal_file = partial.data / "recovery.signal"
    signal_file.touch(mode=0o600)
    copying.give(signal_file, uid)
    store.open_up(partial)


async def replay(store: Store, place: Place, uid: int | None, at: At) -> str | None:
    """Bring the copy to the point, and make it a database of its own. Returns the LSN where it left."""
    sockets = store.socket_directory(place.root.name, uid)
    cluster = Cluster(store.programs, place.data, sockets, uid)
    lines: list[str] = []
    try:
        beside = store.beside(place, uid)
        async with processes.running(command(cluster, place, beside, at), lines.append) as process:
            try:
                await postgres.wait_until_ready(cluster, process)
            except StartFailed:
                # What it wrote last arrives after the news of its end.
                await asyncio.sleep(0.05)
                raise
            await drop_subscriptions(sockets)
            forked = await asyncio.to_thread(programs.fork_lsn, place.data)
        if process.ending != "status 0":
            raise StartFailed(f"it was ended by {process.ending}")
    except (StartFailed, asyncpg.PostgresError, *OUTAGES) as error:
        if any(PAST_THE_END in line for line in lines):
            raise PastTheEnd from None
        log.error("replaying into %s failed: %s: %s", place.root.name, error, " | ".join(lines[-20:]))
        raise shortage.unavailable("the history could not be replayed; the log says why", lines) from None
    finally:
        shutil.rmtree(sockets, ignore_errors=True)
    return forked


def command(cluster: Cluster, place: Place, beside: str, at: At) -> Command:
    data = directory.address_of(cluster.data, cluster.uid)
    options = settings.REPLAYING | rules_of(beside) | {"unix_socket_directories": str(cluster.sockets)}
    if at.lsn is not None:
        options |= {"recovery_target_lsn": at.lsn, "recovery_target_inclusive": "off"}
    argv = (str(cluster.programs / "postgres"), "-D", data, *settings.arguments(options))
    return Command("postgres", argv, binaries.ENVIRONMENT, place.data, cluster.uid, signal.SIGKILL, STOPS)


def rules_of(beside: str) -> dict[str, str]:
    return {"hba_file": f"{beside}/pg_hba.conf", "ident_file": f"{beside}/pg_ident.conf"}


async def drop_subscriptions(sockets: Path) -> None:
    """A child that kept them would take its parent's place at whoever publishes."""
    connection = await connect(sockets)
    try:
        rows = await connection.fetch(bases.SQL.subscriptions)
    finally:
        await connection.close()
    for row in rows:
        connection = await connect(sockets, row["datname"])
        name = '"' + row["subname"].replace('"', '""') + '"'
        try:
            await connection.execute(f"ALTER SUBSCRIPTION {name} DISABLE")
            await connection.execute(f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")
            await connection.execute(f"DROP SUBSCRIPTION {name}")
        finally:
            await connection.close()


async def connect(sockets: Path, database: str = "postgres") -> asyncpg.Connection:
    return await asyncpg.connect(
        host=str(sockets), port=settings.PORT, user=settings.ADMIN, database=database, timeout=20,
        statement_cache_size=0,
        server_settings=OWN_SESSIONS,
    )  # fmt: skip


async def derive(store: Store, record: Record, source: Place, base: Base, at: At) -> Record:
    """Make it under another name, and publish it. The caller keeps the source's history in its place."""
    partial = await asyncio.to_thread(store.begin, record.id)
    await asyncio.to_thread(lay_out, partial, record.uid)
    await asyncio.to_thread(copy, store, source, base, partial, record.uid)
    try:
        forked = await replay(store, partial, record.uid, at)
    except PastTheEnd:
        return await derive(store, record, source, base, HEAD)
    whole = replace(record, parent_lsn=forked)
    await asyncio.to_thread(complete, store, partial, whole)
    return whole


def lay_out(partial: Place, uid: int | None) -> None:
    partial.wal.mkdir(mode=0o700)
    copying.give(partial.wal, uid)
    write_rules(partial)


def complete(store: Store, partial: Place, record: Record) -> None:
    if not bases.take_cold(partial, store.programs):
        raise StartFailed(f"{partial.root.name} is not in order after it was stopped")
    partial.write(replace(record, begins=bases.all_of(partial)[0].lsn))
    store.publish(partial, record.id)


def copy_template(store: Store, partial: Place, uid: int | None) -> None:
    lay_out(partial, uid)
    copying.copy_cluster(store.template, partial.data, with_wal=True)
    copying.give(partial.data, uid)
    store.open_up(partial)
