"""What the owner of a project's databases tries, who is allowed everything but the server."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from control.computes import bases, copying, files, keeping, postmaster, tenants
from control.computes.local import LocalProvider
from control.computes.provider import At, ComputeSpec, ComputeUnavailable, TimelineSpec
from control.embedded import postgres
from control.embedded.directory import DirectoryUnusable
from control.postgres import passwords
from gateway.kit.sql import Connection
from tests.waiting import until

PASSWORD = "correct horse battery staple"

# Each as its own statement, in a database of the owner's: the files, the processes and the other users of the
# machine; the server's own user; what it keeps of others; and what would outlast a session.
DENIED = [
    "COPY things FROM PROGRAM 'id'",
    "COPY things TO PROGRAM 'cat > /tmp/stolen'",
    "COPY things FROM '/etc/passwd'",
    "COPY things TO '/tmp/stolen'",
    "DO $$ BEGIN EXECUTE 'COPY things FROM PROGRAM ''id'''; END $$",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_read_binary_file('../server.conf')",
    "SELECT * FROM pg_ls_dir('/')",
    "SELECT * FROM pg_ls_waldir()",
    "SELECT * FROM pg_ls_logdir()",
    "SELECT pg_stat_file('/etc/passwd')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(lo_create(0), '/tmp/stolen')",
    "LOAD '/tmp/evil.so'",
    "LOAD 'auto_explain'",
    "CREATE FUNCTION evil() RETURNS int LANGUAGE c AS '/tmp/evil.so', 'evil'",
    "CREATE FUNCTION evil(cstring) RETURNS int LANGUAGE c AS 'libc.so.6', 'system'",
    "CREATE FUNCTION evil() RETURNS int LANGUAGE internal AS 'int4in'",
    "CREATE LANGUAGE evil HANDLER plpgsql_call_handler",
    "CREATE TABLESPACE evil LOCATION '/tmp'",
    "CREATE EXTENSION dblink",
    "CREATE EXTENSION postgres_fdw",
    "CREATE EXTENSION file_fdw",
    "CREATE EXTENSION pageinspect",
    "CREATE EXTENSION pg_surgery",
    "CREATE EXTENSION pg_walinspect",
    "CREATE FOREIGN DATA WRAPPER evil",
    "ALTER SYSTEM SET shared_preload_libraries = 'evil'",
    "ALTER SYSTEM SET archive_command = 'id'",
    "SET session_preload_libraries = 'evil'",
    "SET dynamic_library_path = '/tmp'",
    "SET extension_control_path = '/tmp'",
    "SET temp_file_limit = -1",
    "SET session_replication_role = replica",
    "SET log_statement = 'all'",
    "SET allow_system_table_mods = on",
    "ALTER ROLE owner SET session_preload_libraries = 'evil'",
    "ALTER DATABASE app SET session_preload_libraries = 'evil'",
    "ALTER ROLE owner SUPERUSER",
    "CREATE ROLE evil SUPERUSER",
    "SET ROLE cloud_admin",
    "SET SESSION AUTHORIZATION cloud_admin",
    "GRANT cloud_admin TO owner",
    "GRANT owner TO cloud_admin",
    "ALTER ROLE cloud_admin PASSWORD 'known'",
    "ALTER ROLE cloud_admin NOLOGIN",
    "ALTER ROLE cloud_admin SET search_path = public",
    "ALTER ROLE cloud_admin RENAME TO evil",
    "DROP ROLE cloud_admin",
    "ALTER ROLE ALL SET search_path = public",
    "ALTER TABLE things OWNER TO cloud_admin",
    "ALTER FUNCTION harmless() OWNER TO cloud_admin",
    "CREATE SCHEMA evil AUTHORIZATION cloud_admin",
    "ALTER DEFAULT PRIVILEGES FOR ROLE cloud_admin GRANT ALL ON TABLES TO owner",
    "CREATE FUNCTION pg_catalog.evil() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER FUNCTION pg_catalog.now() SECURITY DEFINER",
    "UPDATE pg_authid SET rolsuper = true",
    "UPDATE pg_proc SET prosecdef = true",
    "DELETE FROM pg_class",
    "SELECT rolpassword FROM pg_authid",
    "SELECT passwd FROM pg_shadow",
    "SELECT subconninfo FROM pg_subscription",
    "SELECT * FROM pg_user_mapping",
    "SELECT * FROM pg_hba_file_rules",
    "SELECT * FROM pg_file_settings",
    "SELECT * FROM pg_shmem_allocations",
    "SELECT * FROM pg_largeobject",
    "SHOW data_directory",
    "SHOW config_file",
    "SHOW hba_file",
    "SHOW unix_socket_directories",
    "GRANT pg_read_all_data TO owner",
    "GRANT pg_write_all_data TO owner",
    "GRANT pg_execute_server_program TO owner",
    "GRANT pg_read_server_files TO owner",
    "GRANT pg_write_server_files TO owner",
    "GRANT pg_monitor TO owner",
    "GRANT pg_signal_backend TO owner",
    "GRANT pg_create_subscription TO owner",
    "GRANT pg_maintain TO owner",
    "CREATE SUBSCRIPTION evil CONNECTION 'host=/tmp' PUBLICATION p",
    "CREATE PUBLICATION evil FOR ALL TABLES",
    "CREATE PUBLICATION evil FOR TABLES IN SCHEMA public",
    "CREATE EVENT TRIGGER evil ON ddl_command_end EXECUTE FUNCTION harmless_trigger()",
    "CREATE OPERATOR CLASS evil FOR TYPE int USING btree AS OPERATOR 1 <",
    "CREATE CAST (int AS json) WITHOUT FUNCTION",
    "CREATE ACCESS METHOD evil TYPE TABLE HANDLER heap_tableam_handler",
    "SELECT pg_terminate_backend($admin)",
    "SELECT pg_cancel_backend($admin)",
    "SELECT pg_reload_conf()",
    "SELECT pg_rotate_logfile()",
    "SELECT pg_switch_wal()",
    "SELECT pg_promote()",
    "SELECT pg_create_restore_point('evil')",
    "SELECT pg_replication_origin_create('evil')",
    "SELECT pg_log_backend_memory_contexts($admin)",
    "SELECT pg_stat_reset_shared('io')",
    "CHECKPOINT",
    "CREATE DATABASE evil TEMPLATE postgres",
    "CREATE DATABASE evil OWNER cloud_admin",
    "ALTER DATABASE postgres SET search_path = public",
    "ALTER DATABASE template1 IS_TEMPLATE false",
    "DROP DATABASE postgres",
    "DROP DATABASE template1",
]  # fmt: skip

ALLOWED = [
    "CREATE TABLE mine (id int PRIMARY KEY, text text)",
    "CREATE SCHEMA apart",
    "CREATE ROLE reader LOGIN PASSWORD 'of their own'",
    "GRANT SELECT ON mine TO reader",
    "GRANT reader TO owner",
    "SET ROLE reader",
    "RESET ROLE",
    "ALTER TABLE mine ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY all_of_it ON mine USING (true)",
    "CREATE PUBLICATION mine FOR TABLE mine",
    "SELECT pg_create_logical_replication_slot('mine', 'pgoutput')",
    "SELECT pg_drop_replication_slot('mine')",
    "CREATE EXTENSION vector",
    "SELECT '[1,2,3]'::vector <-> '[3,2,1]'::vector",
    "CREATE EXTENSION moddatetime",
    "CREATE EXTENSION pg_trgm",
    "CREATE EXTENSION hstore",
    "CREATE EXTENSION \"citext\"",
    "DO $$ BEGIN PERFORM 1; END $$",
    "SET work_mem = '64MB'",
    "SET statement_timeout = 0",
    "VACUUM ANALYZE mine",
    "REINDEX TABLE mine",
    "CREATE DATABASE another",
    "ALTER DATABASE another RENAME TO renamed",
    "DROP DATABASE renamed",
    "DROP ROLE IF EXISTS nobody",
    "SELECT lo_create(0)",
    "LISTEN channel",
]  # fmt: skip


@pytest.fixture
async def address(provider: LocalProvider) -> Path:
    """The sockets of a server that was made ready for its owner."""
    await provider.create_timeline("main", TimelineSpec("shop"))
    found = await provider.start("rw", "main", ComputeSpec(is_logical=True))
    admin = await provider.admin("rw")
    for _ in range(2):
        await tenants.prepare(admin, "owner", passwords.verifier(PASSWORD))
        await tenants.create_database(admin, "app", "owner")
    await admin.close()
    return found.sockets


@asynccontextmanager
async def owner_of(sockets: Path, database: str = "app") -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(host=str(sockets), user="owner", password=PASSWORD, database=database)
    try:
        yield connection
    finally:
        await connection.close()


async def test_an_owner_does_all_with_what_is_theirs_and_nothing_with_the_server(
    provider: LocalProvider, address: Path
) -> None:
    admin = await provider.admin("rw", "app")
    async with owner_of(address) as owner:
        await owner.execute("CREATE TABLE things (thing text)")
        await owner.execute("CREATE FUNCTION harmless() RETURNS int LANGUAGE sql AS 'SELECT 1'")
        await owner.execute(
            "CREATE FUNCTION harmless_trigger() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'"
        )
        done: dict[str, str] = {}
        for statement in DENIED:
            try:
                await owner.execute(statement.replace("$admin", str(admin.get_server_pid())))
                done[statement] = "done"
            except asyncpg.InsufficientPrivilegeError:
                continue
            except asyncpg.PostgresError as error:
                # For the server's superuser as well: there is no ALTER SYSTEM.
                if not isinstance(error, asyncpg.FeatureNotSupportedError):
                    done[statement] = repr(error)
        assert done == {}
        for statement in ALLOWED:
            await owner.execute(statement)
        # What others are doing is not theirs to read.
        seen = await owner.fetch("SELECT query FROM pg_stat_activity WHERE usename = 'cloud_admin'")
        assert {row["query"] for row in seen} <= {"<insufficient privilege>"}
    assert await admin.fetchval("SELECT 1") == 1
    await admin.close()


async def test_a_superusers_session_calls_nothing_of_a_tenants(
    provider: LocalProvider, address: Path
) -> None:
    async with owner_of(address) as owner:
        # They fit better than the server's own, which take any number of anything.
        await owner.execute("""
            CREATE FUNCTION public.format(text, text, text) RETURNS text LANGUAGE plpgsql AS
                $$ BEGIN EXECUTE 'ALTER ROLE owner SUPERUSER'; RETURN 'SELECT 1'; END $$;
            CREATE FUNCTION public.quote_ident(varchar) RETURNS text LANGUAGE plpgsql AS
                $$ BEGIN EXECUTE 'ALTER ROLE owner SUPERUSER'; RETURN 'x'; END $$;
            ALTER DATABASE app SET search_path = public, pg_catalog;
        """)
    admin = await provider.admin("rw", "app")
    await tenants.create_database(admin, "second", "owner")
    await admin.fetchval("SELECT quote_ident('x'::varchar)")
    assert await admin.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = 'owner'") is False
    await admin.close()


async def test_nobody_takes_a_copy_of_the_server_as_a_replica(provider: LocalProvider, address: Path) -> None:
    psql = await asyncio.create_subprocess_exec(
        provider.store.programs / "psql", f"host={address} user=owner dbname=app replication=true",
        "-c", "IDENTIFY_SYSTEM", env={"PGPASSWORD": PASSWORD}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, told = await psql.communicate()
    assert psql.returncode != 0
    assert b"pg_hba.conf rejects replication connection" in told


async def test_sessions_of_a_tenant_leave_room_for_ours(provider: LocalProvider, address: Path) -> None:
    taken = [await connected(address) for _ in range(45)]
    while (connection := await connected(address)) is not None:
        taken.append(connection)
    admin = await provider.admin("rw")
    assert await admin.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename = 'owner'") == len(taken)
    await admin.close()
    for one in taken:
        assert one is not None
        one.terminate()


async def test_a_server_that_is_full_keeps_nobody_from_looking_after_the_next_one(
    provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bases, "WAL_BYTES_MAX", 0)
    monkeypatch.setattr(bases, "WAL_SHARE_MAX", 1 << 20)
    begun = {}
    for name in ("a", "b"):
        await provider.create_timeline(name, TimelineSpec(name))
        begun[name] = len(bases.all_of(provider.store.place(name)))
        await provider.start(f"on-{name}", name, ComputeSpec())
        admin = await provider.admin(f"on-{name}")
        await admin.execute("SELECT pg_switch_wal(); CHECKPOINT")
        await admin.close()
        await until(partial(bases.is_due, provider.store.place(name)))
    # Ours included, which a tenant makes wait by what it locks.
    taken = [await provider.admin("on-a") for _ in range(50)]
    with pytest.raises(asyncpg.TooManyConnectionsError):
        await provider.admin("on-a")
    await keeping.upkeep(provider)
    assert {name: len(bases.all_of(provider.store.place(name))) - begun[name] for name in begun} == {
        "a": 0, "b": 1
    }  # fmt: skip
    for one in taken:
        one.terminate()


async def test_a_link_in_the_place_of_a_log_leads_to_nobody_elses(provider: LocalProvider) -> None:
    """By somebody who has become the server's user: all users' files are ours to read, and to give away."""
    for name in ("victim", "main"):
        await provider.create_timeline(name, TimelineSpec(name))
        await provider.start(f"on-{name}", name, ComputeSpec())
        await provider.stop(f"on-{name}")
    theirs, own = (provider.store.place(name).data / "pg_wal" for name in ("victim", "main"))
    before = {path.name: path.lstat()[:6] for path in theirs.iterdir()}
    shutil.rmtree(own)
    own.symlink_to(theirs)
    with pytest.raises(ComputeUnavailable):
        await provider.create_timeline("child", TimelineSpec("main"), ("main", At()))
    with pytest.raises(NotADirectoryError):
        await provider.resolve("main", At(timestamp=datetime.now(UTC)))
    with pytest.raises(ComputeUnavailable):
        await provider.archive("main")
    assert {path.name: path.lstat()[:6] for path in theirs.iterdir()} == before
    assert not (provider.store.place("child").root).exists()


async def test_nobody_is_let_in_where_a_copy_is_being_made(
    provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_cluster, closed = copying.copy_cluster, []

    def watched(source: Path, target: Path, *, with_wal: bool) -> None:
        # A base may be passed through, and the directory of bases may not.
        above = (target.parent, target.parent.parent)
        closed.append(any(not one.stat().st_mode & 0o077 for one in above))
        copy_cluster(source, target, with_wal=with_wal)

    monkeypatch.setattr(copying, "copy_cluster", watched)
    await provider.create_timeline("main", TimelineSpec("shop"))
    await provider.create_timeline("child", TimelineSpec("shop"), ("main", At()))
    assert closed == [True] * 4


async def test_what_a_server_says_of_itself_is_not_where_we_remove_things(
    provider: LocalProvider, address: Path
) -> None:
    place = provider.store.place("main")
    path = place.data / "postmaster.pid"
    lines = path.read_text().splitlines()
    lines[4] = "/etc"
    path.write_text("\n".join(lines))
    server = postmaster.adopt(provider.store, place)
    assert server is not None
    assert server.sockets == address
    server.release()
    # Nor does reading it wait for anybody.
    path.unlink()
    os.mkfifo(path)
    assert postmaster.adopt(provider.store, place) is None
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert postgres.pid_file(place.data) == []


def test_users_do_not_run_out_with_projects_that_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number is given once, so that whoever makes and deletes projects takes one each time."""
    given = set(range(61_100, 65_000))
    monkeypatch.setattr(files, "mapped", lambda: [range(1 << 32)])
    assert files.free_uid(given) == 65_536
    monkeypatch.setattr(files, "mapped", lambda: [range(65_536)])
    with pytest.raises(DirectoryUnusable, match="given away"):
        files.free_uid(given)


async def connected(sockets: Path) -> Connection | None:
    try:
        return await asyncpg.connect(host=str(sockets), user="owner", password=PASSWORD, database="app")
    except asyncpg.TooManyConnectionsError:
        return None
