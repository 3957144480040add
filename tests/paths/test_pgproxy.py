"""PostgreSQL's clients and ``farebox up``: a project, its database, and the processes in between."""

import asyncio
import os
import re
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import asyncpg
import psycopg
import pytest

from config.settings import environment

WORKERS = 2


@dataclass
class Up:
    pid: int
    directory: Path
    lines: dict[str, str]
    session: aiohttp.ClientSession
    key: str = ""

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        url = self.lines["farebox ready"] + path
        async with self.session.request(method, url, json=body, headers=headers) as response:
            assert response.status < 300, await response.text()
            return await response.json()

    def proxies(self) -> list[int]:
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                is_child = (entry / "stat").read_text().rpartition(")")[2].split()[1] == str(self.pid)
                if is_child and b"farebox: pgproxy" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
        return found


@pytest.fixture
def directory() -> Iterator[Path]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="up-", dir=memory if memory.is_dir() else "/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
async def up(directory: Path) -> AsyncIterator[Up]:
    kept = {name: value for name, value in environment({}).items() if not name.startswith("FAREBOX_")}
    kept |= {
        "FAREBOX_METRICS__PORT": "0", "FAREBOX_LOG_LEVEL": "warning",
        "FAREBOX_PGPROXY__WORKERS": str(WORKERS),
    }  # fmt: skip
    with (directory / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "control.cli.app", "up", "--port", "0",
            "--data-dir", str(directory / "data"), stdout=PIPE, stderr=log, env=kept,
        )  # fmt: skip
    try:
        lines = await asyncio.wait_for(said(process), 60)
        async with aiohttp.ClientSession() as session:
            yield Up(process.pid, directory / "data", lines, session)
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 40)


async def said(process: asyncio.subprocess.Process) -> dict[str, str]:
    assert process.stdout is not None
    lines: dict[str, str] = {}
    async for line in process.stdout:
        name, _, value = line.decode().strip().partition(": ")
        lines[name] = value
        if name == "farebox ready":
            return lines
    raise AssertionError(lines)


async def connected(uri: str, *, is_pooled: bool = False) -> Any:
    found = urlsplit(uri)
    options = parse_qs(found.query)["options"][0] + ("-pooler" if is_pooled else "")
    async with asyncio.timeout(30):
        while True:
            try:
                return await asyncpg.connect(
                    host=found.hostname, port=found.port, user=found.username, password=found.password,
                    database=found.path[1:], ssl=False, server_settings={"options": options},
                )  # fmt: skip
            except (OSError, asyncpg.ConnectionDoesNotExistError):
                # Its process was killed this moment, and the next one takes over.
                await asyncio.sleep(0.05)


async def test_a_project_is_reached_through_all_of_it(up: Up) -> None:
    account = await up.ask("POST", "/auth/agent", {"name": "somebody"})
    up.key = account["data"]["agent"]["api_key"]
    project = (await up.ask("POST", "/projects", {"name": "shop", "region": "local"}))["data"]["id"]
    uri = (await up.ask("GET", f"/projects/{project}/connection_uri"))["uri"]
    assert f":{up.lines['postgres'].rpartition(':')[2]}/" in uri

    # It waits for its branch to be made, and wakes it.
    one = await connected(uri)
    await one.execute("CREATE TABLE things (n int); INSERT INTO things VALUES (41)")

    def work() -> Any:
        # The certificate that was made at the start, by the name in it and bound to the login.
        certificate = up.directory / "pgproxy.pem"
        secure = f"{uri}&sslmode=verify-full&sslrootcert={certificate}&channel_binding=require"
        # libpq takes an address for no name, but finds it in the certificate.
        with psycopg.connect(secure) as connection:
            return connection.execute("UPDATE things SET n = n + 1 RETURNING n").fetchone()

    assert await asyncio.to_thread(work) == (42,)
    pooled = [await connected(uri, is_pooled=True) for _ in range(10)]
    assert await asyncio.gather(*(each.fetchval("SELECT n FROM things") for each in pooled)) == [42] * 10

    # Requests to cancel come to any of the processes, and find their own.
    for each in (one, *pooled):
        with pytest.raises((TimeoutError, asyncpg.QueryCanceledError)):
            await each.execute("SELECT pg_sleep(60)", timeout=0.2)
        assert await each.fetchval("SELECT 1", timeout=10) == 1

    proxies = up.proxies()
    assert len(proxies) == WORKERS
    os.kill(proxies[0], signal.SIGKILL)
    async with asyncio.timeout(20):
        while len(set(up.proxies()) - set(proxies)) < 1:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    again = [await connected(uri) for _ in range(6)]
    assert {await each.fetchval("SELECT n FROM things") for each in again} == {42}

    # The studio asks the same server from the process that serves, on the loop that it serves with.
    told = await up.ask("POST", f"/v1/projects/{project}/studio/query", {"sql": "SELECT n FROM things"})
    assert (told["rows"], told["rowCount"]) == ([{"n": 42}], 1)
    tables = await up.ask("GET", f"/v1/projects/{project}/studio/tables")
    assert [one["name"] for one in tables["tables"]] == ["things"]

    async with up.session.get(up.lines["metrics"]) as response:
        text = await response.text()
    assert re.search(r'farebox_pgproxy_connections\{kind="direct"\} [1-9]', text)
    assert re.search(r'farebox_pgproxy_cancels_total\{outcome="passed_on"\} [1-9]', text)
    assert 'farebox_process_restarts_total{process="pgproxy"} 1.0' in text
    for each in (one, *pooled, *again):
        each.terminate()
