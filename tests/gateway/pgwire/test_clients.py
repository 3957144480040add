"""Real clients through the proxy, each as its users have it."""

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import URL, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.gateway.pgwire.conftest import PASSWORD, Stage

pytestmark = pytest.mark.asyncio(loop_scope="module")
NODE = Path(__file__).parent / "node"


def ask(dsn: str, query: str = "SELECT current_user || ' ' || 1") -> Any:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


@pytest.mark.parametrize("pooled", [False, True])
async def test_asyncpg_speaks_plainly(stage: Stage, pooled: bool) -> None:
    connection = await stage.connect(pooled=pooled)
    assert await connection.fetchval("SELECT $1::int + 1", 41) == 42
    await connection.close()


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize(
    "more",
    [
        {},  # SNI, verify-full and channel_binding=require
        {"sslnegotiation": "direct"},
        {"max_protocol_version": "latest"},
        {"min_protocol_version": "3.2", "max_protocol_version": "3.2"},
        {"channel_binding": "disable"},
        {"gssencmode": "prefer"},
    ],
)
async def test_libpq_names_the_endpoint_by_its_host(stage: Stage, pooled: bool, more: dict[str, str]) -> None:
    assert await asyncio.to_thread(ask, stage.by_name(pooled=pooled, **more)) == [("app 1",)]


async def test_options_are_passed_on_but_for_ours(stage: Stage) -> None:
    for options in (f"endpoint={stage.label} -c geqo=off", f"-c geqo=off -c endpoint={stage.label}"):
        assert await asyncio.to_thread(ask, stage.dsn(options=options), "SHOW geqo") == [("off",)]
    spelled = f"project={stage.label} -c application_name=a\\\\ b"
    assert await asyncio.to_thread(ask, stage.dsn(options=spelled), "SHOW application_name") == [("a b",)]


def run(*argv: str, cwd: Path | None = None) -> str:
    known = {"PGPASSWORD": PASSWORD, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(argv, env=known, capture_output=True, text=True, timeout=60, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_psql(stage: Stage) -> None:
    psql = str(stage.kept.provider.store.programs / "psql")
    answer = await asyncio.to_thread(run, psql, "-XAt", stage.dsn(), "-c", "SELECT 6 * 7", "-c", "\\dt")
    assert answer.startswith("42\n")


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
async def test_pgbench(stage: Stage, pooled: bool, protocol: str) -> None:
    pgbench = str(stage.kept.provider.store.programs / "pgbench")
    await asyncio.to_thread(run, pgbench, "-i", "-q", "-s", "1", stage.dsn())
    told = await asyncio.to_thread(
        run, pgbench, "-n", "-M", protocol, "-c", "4", "-t", "50", stage.dsn(pooled=pooled)
    )
    assert "number of failed transactions: 0 (0.000%)" in told
    assert "number of transactions actually processed: 200/200" in told


@pytest.mark.parametrize("pooled", [False, True])
async def test_sqlalchemy(stage: Stage, pooled: bool) -> None:
    label = stage.label + ("-pooler" if pooled else "")

    def url(driver: str) -> URL:
        return URL.create(f"postgresql+{driver}", "app", PASSWORD, "127.0.0.1", stage.port, "app")

    def work() -> Any:
        engine = create_engine(url("psycopg"), connect_args={"options": f"endpoint={label}"}, pool_size=2)
        with engine.begin() as connection:
            answers = [connection.execute(text("SELECT :n + 1"), {"n": n}).scalar() for n in range(10)]
        engine.dispose()
        return answers

    assert await asyncio.to_thread(work) == list(range(1, 11))
    engine = create_async_engine(
        url("asyncpg"), connect_args={"server_settings": {"options": f"endpoint={label}"}, "ssl": False}
    )
    async with engine.begin() as connection:
        for n in range(10):
            assert (await connection.execute(text("SELECT CAST(:n AS int) + 1"), {"n": n})).scalar() == n + 1
    await engine.dispose()


@pytest.mark.skipif(
    not (shutil.which("node") and (NODE / "node_modules" / "pg").is_dir()),
    reason="wants node, and npm install in tests/gateway/pgwire/node",
)
@pytest.mark.parametrize("pooled", [False, True])
async def test_node_postgres(stage: Stage, pooled: bool) -> None:
    label = stage.label + ("-pooler" if pooled else "")
    answer = await asyncio.to_thread(
        run,
        "node",
        "ask.js",
        str(stage.port),
        f"{label}.localhost",
        PASSWORD,
        str(stage.certificate),
        cwd=NODE,
    )
    assert answer == "42 43 true\n"
