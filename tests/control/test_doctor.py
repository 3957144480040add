import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientTimeout, web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from config import settings
from config.pgproxy import PgProxy
from config.settings import AssetSettings, Listen, Metrics, Network, Postgres, Redis, Secrets, Settings
from control import doctor
from control.doctor import Check
from control.finding import Finding
from control.supervisor import keys, ports
from gateway.kit import crypto

# The address of this key is a well-known vector.
KEY = "0x" + "0" * 63 + "1"
ADDRESS = "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"


@pytest.fixture
def fine(tmp_path: Path) -> Settings:
    update = {
        "data_dir": tmp_path / "data", "listen": Listen(port=0), "metrics": Metrics(port=0),
        "pgproxy": PgProxy(port=0),
    }  # fmt: skip
    return settings.load().model_copy(update=update)


async def findings(check: Check, chosen: Settings) -> dict[str, Finding]:
    return {finding.subject: finding async for finding in check(chosen)}


async def test_a_bare_machine_is_well(fine: Settings) -> None:
    found = [finding async for finding in doctor.examine(fine)]
    assert [finding for finding in found if finding.remedy] == []
    assert {finding.subject for finding in found} == {
        "python", "compiled modules", "data directory", "open files", "embedded postgres", "embedded valkey",
        "port", "metrics port", "postgres port", "database", "redis",
        "encryption keys", "networks", "stripe", "polar", "postgres certificate", "projects' disk",
        "projects' servers", "projects' databases",
    }  # fmt: skip
    assert not list(fine.data_dir.parent.iterdir()) if fine.data_dir else False


async def test_a_missing_module_is_named(fine: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "COMPILED", (*doctor.COMPILED, "no_such_module"))
    found = await findings(doctor.interpreter, fine)
    assert "no_such_module" in found["compiled modules"].detail
    assert found["compiled modules"].remedy


async def test_a_directory_that_cannot_be_written_to_is_found(fine: Settings) -> None:
    # Nobody may make files there, not even root.
    found = await findings(doctor.data_directory, fine.model_copy(update={"data_dir": Path("/proc/farebox")}))
    assert found["data directory"].remedy


async def test_programs_that_are_not_there_are_found(fine: Settings, tmp_path: Path) -> None:
    chosen = fine.model_copy(update={"postgres": Postgres(bin_dir=tmp_path)})
    found = await findings(doctor.programs, chosen)
    assert found["embedded postgres"].remedy
    assert found["embedded valkey"].remedy is None


async def test_a_program_that_does_not_run_here_is_found(fine: Settings, tmp_path: Path) -> None:
    for name in ("postgres", "initdb"):
        (tmp_path / name).write_bytes(b"\x7fELF of another machine")
        (tmp_path / name).chmod(0o755)
    found = await findings(doctor.programs, fine.model_copy(update={"postgres": Postgres(bin_dir=tmp_path)}))
    assert "does not run on this machine" in found["embedded postgres"].detail


async def test_a_port_that_is_taken_is_found(fine: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    # Who listens there never answers.
    monkeypatch.setattr(doctor, "RPC_TIMEOUT", ClientTimeout(total=0.5))
    with ports.listen_alone("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        found = await findings(doctor.addresses, fine.model_copy(update={"listen": Listen(port=port)}))
    assert f"Port {port}" in found["port"].detail
    assert found["port"].remedy


async def test_a_port_that_a_farebox_serves_is_well(fine: Settings) -> None:
    app = web.Application()
    app.router.add_get("/healthz", answer_ok)
    async with TestServer(app) as server:
        found = await findings(
            doctor.addresses, fine.model_copy(update={"listen": Listen(port=server.port or 0)})
        )
    assert found["port"].remedy is None


async def answer_ok(request: web.Request) -> web.Response:
    return web.Response()


async def test_a_database_with_the_schema_is_well_and_one_without_is_not(
    fine: Settings, server: str, database: str
) -> None:
    migrated = server.replace("/postgres?", f"/{database}?")
    found = await findings(
        doctor.database, fine.model_copy(update={"postgres": Postgres(dsn=SecretStr(migrated))})
    )
    assert found["schema"].remedy is None
    found = await findings(
        doctor.database, fine.model_copy(update={"postgres": Postgres(dsn=SecretStr(server))})
    )
    assert found["database"].remedy is None
    assert found["schema"].remedy


@pytest.mark.parametrize("dsn", ["postgresql://x@/x?host=/nowhere", "postgresql://127.0.0.1:1/x", "nonsense"])
async def test_a_database_out_of_reach_is_found(fine: Settings, dsn: str) -> None:
    chosen = fine.model_copy(update={"postgres": Postgres(dsn=SecretStr(dsn))})
    assert (await findings(doctor.database, chosen))["database"].remedy


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "unix:///nowhere/socket", "nonsense"])
async def test_a_redis_out_of_reach_is_found(fine: Settings, url: str) -> None:
    chosen = fine.model_copy(update={"redis": Redis(url=SecretStr(url))})
    assert (await findings(doctor.cache, chosen))["redis"].remedy


async def test_keys_are_looked_at_in_the_settings_and_in_the_file(fine: Settings, tmp_path: Path) -> None:
    chosen = fine.model_copy(update={"data_dir": tmp_path})
    (tmp_path / keys.NAME).write_text("nonsense\n")
    assert (await findings(doctor.secret_keys, chosen))["encryption keys"].remedy
    (tmp_path / keys.NAME).write_text(crypto.new_key("default") + "\n")
    assert (await findings(doctor.secret_keys, chosen))["encryption keys"].remedy is None
    wrong = chosen.model_copy(update={"secrets": Secrets(keys=(SecretStr("short:AAAA"),))})
    assert (await findings(doctor.secret_keys, wrong))["encryption keys"].remedy


class Node:
    """A chain's node that answers what it is told to."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"eth_chainId": "0x14a34", "eth_gasPrice": "0x2"}
        self.balances: dict[str, str] = {}

    async def respond(self, request: web.Request) -> web.Response:
        asked = json.loads(await request.text())
        if asked["method"] == "eth_getBalance":
            return web.json_response({"result": self.balances.get(asked["params"][0], "0x0")})
        return web.json_response({"result": self.answers[asked["method"]]})


@pytest.fixture
async def node() -> AsyncIterator[tuple[Node, str]]:
    node, app = Node(), web.Application()
    app.router.add_post("/", node.respond)
    async with TestServer(app) as server:
        yield node, str(server.make_url("/"))


def with_network(chosen: Settings, url: str) -> Settings:
    asset = AssetSettings(address="0x" + "1" * 40, symbol="USDC", decimals=6, name="USDC", version="2")
    network = Network(
        id="eip155:84532", rpc_url=url, facilitator_key=SecretStr(KEY), assets=(asset,), gas_limit=100_000
    )
    return chosen.model_copy(update={"networks": (network,)})


@pytest.mark.parametrize(
    ("chain_id", "balance", "complaint"),
    [
        ("0x14a34", hex(200_000), None),              # gas for exactly one settlement
        ("0x14a34", hex(199_999), "199999 wei"),      # one wei short
        ("0x1", hex(10**18), "of chain 1"),           # the setting names another chain
        ("what", hex(10**18), "does not answer"),     # not a node at all
    ],
)  # fmt: skip
async def test_a_network_is_asked_who_it_is_and_whether_the_signer_has_gas(
    fine: Settings, node: tuple[Node, str], chain_id: str, balance: str, complaint: str | None
) -> None:
    told, url = node
    told.answers["eth_chainId"] = chain_id
    told.balances[ADDRESS] = balance
    found = (await findings(doctor.networks, with_network(fine, url)))["eip155:84532"]
    assert (found.remedy is None) == (complaint is None)
    assert (complaint or "has gas") in found.detail


async def test_a_node_out_of_reach_is_found(fine: Settings) -> None:
    found = await findings(doctor.networks, with_network(fine, "http://127.0.0.1:1/"))
    assert found["eip155:84532"].remedy
