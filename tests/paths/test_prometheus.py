"""A real Prometheus reads a real ``farebox up``: every panel and every alert asks for what is there."""

import asyncio
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientError, ClientSession, web

from control.demo import cast
from control.demo.chain import Chain
from gateway.kit.sql import create_pool
from tests.paths.conftest import DOLLAR, Farebox, Upstream, settings_of
from tests.waiting import until

CONFIG = Path(__file__).parents[2] / "config"
DASHBOARD = json.loads((CONFIG / "grafana" / "farebox.json").read_text())
VARIABLES = {"$publisher": ".*", "$__rate_interval": "30s"}
TRAFFIC_SECONDS = 6


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install prometheus")
    return found


def queries() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            query = target["expr"]
            for name, value in VARIABLES.items():
                query = query.replace(name, value)
            yield f"{panel['title']}: {target['legendFormat']}", query


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that other users may pass through, as projects' servers are."""
    with cast.throw_away() as name:
        yield Path(name)


@pytest.fixture
async def up(
    chain: Chain, paid_token: str, upstream: Upstream, directory: Path
) -> AsyncIterator[tuple[Farebox, str]]:
    settings = settings_of("unused", None, chain, paid_token)
    (network,) = settings.networks
    plain: dict[str, Any] = network.model_dump(mode="json", exclude_none=True)
    assert network.facilitator_key is not None
    plain["facilitator_key"] = network.facilitator_key.get_secret_value()
    async with cast.product(str(directory), plain, workers=2) as product, ClientSession() as session:
        dsn = (directory / "run" / "dsn").read_text().strip()
        async with create_pool(dsn, size_max=4) as pool:
            farebox = await Farebox.opened(
                product.origin, settings, pool, session, chain, paid_token, upstream
            )
            yield farebox, product.metrics


class Prometheus:
    def __init__(self, session: ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def ask(self, path: str, **parameters: str) -> Any:
        async with self.session.get(f"{self.url}/api/v1/{path}", params=parameters) as response:
            answer = await response.json()
        assert answer["status"] == "success", answer
        return answer["data"]

    async def is_up(self) -> bool:
        try:
            return bool((await self.ask("query", query="up == 1"))["result"])
        except ClientError:
            return False


@asynccontextmanager
async def prometheus(directory: Path, metrics: str) -> AsyncIterator[Prometheus]:
    """With the configuration that is shipped, but for the address and a shorter interval."""
    shipped = (CONFIG / "prometheus" / "prometheus.yml").read_text()
    target = metrics.removeprefix("http://").removesuffix("/metrics")
    own = re.sub(r"(scrape|evaluation)_interval: 15s", r"\1_interval: 1s", shipped)
    own = own.replace("127.0.0.1:9402", target)
    assert target in own
    (directory / "prometheus.yml").write_text(own)
    shutil.copy(CONFIG / "prometheus" / "alerts.yml", directory)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    process = await asyncio.create_subprocess_exec(
        program("prometheus"), f"--config.file={directory}/prometheus.yml",
        f"--storage.tsdb.path={directory}/tsdb", f"--web.listen-address={address}", "--log.level=error",
    )  # fmt: skip
    try:
        async with ClientSession() as session:
            server = Prometheus(session, f"http://{address}")
            await until(server.is_up, 20)
            yield server
    finally:
        process.terminate()
        await process.wait()


async def branch_on_sale(farebox: Farebox) -> tuple[str, str]:
    """How to connect to a project's database, and where queries of it are sold."""
    ask, headers = farebox.agent.ask, farebox.publisher.headers
    body = {"name": "shop", "region": "local"}
    made = (await ask("POST", f"{farebox.origin}/projects", headers=headers, body=body)).json["data"]
    project = f"{farebox.origin}/projects/{made['id']}"

    async def is_ready() -> bool:
        told = (await ask("GET", f"{project}/branches", headers=headers)).json["data"]
        return bool(told[0]["state"] == "ready")

    await until(is_ready, 60)
    found = await ask("GET", f"{project}/connection_uri", headers=headers)
    assert found.status == 200, found.text
    uri: str = found.json["uri"]
    owner = await asyncpg.connect(uri, ssl=False)
    await owner.execute("CREATE TABLE items AS SELECT generate_series(1, 3) AS n")
    await owner.close()
    asked = await farebox.publish(
        "items", publisher_category="database", api_url=None, price_per_call=None,
        base_price_per_1000_rows="1", branch_id=made["default_branch_id"],
        database_config={"tables": ["items"]},
    )  # fmt: skip
    return uri, asked


async def traffic(farebox: Farebox) -> None:
    """Some of everything that can become of a call, over several scrapes."""
    shop = await farebox.publish()
    dead = await farebox.publish("dead", api_url="http://127.0.0.1:9")
    account = await farebox.sign_up()
    await farebox.fund(account, 100 * DOLLAR)
    uri, asked = await branch_on_sale(farebox)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=500 if request.path == "/broken" else 200, text="fine")

    farebox.upstream.handler = answer
    end = time.monotonic() + TRAFFIC_SECONDS
    ask = farebox.agent.ask
    while time.monotonic() < end:
        assert (await ask("GET", f"{shop}/x", headers=account.headers)).status == 200
        assert (await ask("GET", f"{shop}/broken", headers=account.headers)).status == 500
        # At first it is asked, and then left alone.
        assert (await ask("GET", f"{dead}/x", headers=account.headers)).status in (502, 503)
        assert (await ask("GET", f"{shop}/x")).status == 402
        assert (await ask("GET", f"{shop}/x", headers={"Authorization": "Bearer wrong"})).status == 401
        assert (await ask("GET", f"{farebox.origin}/publishers/nobody/x")).status == 404
        reply = await ask("POST", asked, headers=account.headers, body={"query": "SELECT n FROM items"})
        assert (reply.status, reply.json["row_count"]) == (200, 3)
        for way in (uri, f"{uri}-pooler"):
            client = await asyncpg.connect(way, ssl=False, statement_cache_size=0)
            assert await client.fetchval("SELECT count(*) FROM items") == 3
            await client.close()
        if await farebox.chain.balance(farebox.token, farebox.payer) >= DOLLAR:
            assert (await farebox.pay("GET", f"{shop}/x")).status == 200
        await asyncio.sleep(0.2)


async def test_every_panel_and_every_alert_asks_for_what_is_there(
    up: tuple[Farebox, str], tmp_path: Path
) -> None:
    farebox, metrics = up
    program("prometheus")
    async with prometheus(tmp_path, metrics) as server:
        await traffic(farebox)
        # Once more for what is only looked at every five seconds.
        await asyncio.sleep(5)
        missing = []
        for name, query in queries():
            if not (await server.ask("query", query=query))["result"]:
                missing.append(f"{name}: {query}")
        rules = [rule for group in (await server.ask("rules"))["groups"] for rule in group["rules"]]
        for rule in rules:
            number, count = re.subn(r" [<>] [0-9.]+$", "", rule["query"])
            assert count == 1, f"{rule['name']} is not a number and a bound"
            if not (await server.ask("query", query=number))["result"]:
                missing.append(f"{rule['name']}: {number}")
            assert rule["health"] == "ok", rule
        assert missing == []
        assert len(rules) == (CONFIG / "prometheus" / "alerts.yml").read_text().count("- alert:")
        # The dead upstream is what this traffic has to complain about, and of the rest only what it made up.
        firing = {rule["name"] for rule in rules if rule["state"] != "inactive"}
        assert firing == {"FareboxUpstreamFails"}


async def test_the_scrape_is_clean_and_says_what_each_number_is(up: tuple[Farebox, str]) -> None:
    farebox, metrics = up
    promtool = program("promtool")
    shop = await farebox.publish()
    account = await farebox.sign_up()
    await farebox.fund(account, DOLLAR)
    assert (await farebox.agent.ask("GET", f"{shop}/x", headers=account.headers)).status == 200
    assert (await farebox.pay("GET", f"{shop}/x")).status == 200
    await asyncio.sleep(2.5)
    text = (await farebox.agent.ask("GET", metrics)).text
    checked = await asyncio.to_thread(
        subprocess.run,
        [promtool, "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    names = set(re.findall(r"^# TYPE (farebox_\w+)", text, re.MULTILINE))
    assert {name for name in names if f"`{name}`" not in readme} == set()


@pytest.mark.parametrize("command", [("check", "rules", "alerts.yml"), ("check", "config", "prometheus.yml")])
def test_what_is_shipped_is_valid(command: tuple[str, ...]) -> None:
    *verb, name = command
    run = [program("promtool"), *verb, str(CONFIG / "prometheus" / name)]
    checked = subprocess.run(run, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
