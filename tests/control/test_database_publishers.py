"""A connection string is checked like a URL, sealed, and never seen again."""

from dataclasses import replace
from typing import Any

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.api.ports import Ports
from control.publishers import jobs
from gateway.kit import crypto
from gateway.kit.sql import Pool
from gateway.kit.ssrf import Guard
from tests.control.conftest import Client, Member, newer
from tests.control.test_publishers import AT, NEW, created
from tests.paths.test_selling_tls import OURS, pem

DSN = "postgresql://reader:s3cret@127.0.0.1:5999/shop?sslmode=require"
DATABASE: dict[str, Any] = {
    **NEW,
    "api_url": None,
    "publisher_category": "database",
    "database_config": {"connection_string": DSN},
}
STRING, ROOTS = "body/database_config/connection_string", "body/database_config/root_certificate"
STRICT = DSN.replace("require", "verify-full")
ROOT = pem(OURS)


@pytest.mark.parametrize(
    ("more", "pointers"),
    [
        ({"database_config": {"connection_string": "mysql://u:p@127.0.0.1/d"}}, [STRING]),
        ({"database_config": {"connection_string": "postgresql://127.0.0.1/d"}}, [STRING]),
        ({"database_config": {"connection_string": "postgresql://u:p@127.0.0.1"}}, [STRING]),
        ({"database_config": {"connection_string": "postgresql://u:p@a,b/d"}}, [STRING]),
        ({"database_config": {"connection_string": "postgresql://u:p@127.1/d"}}, [STRING]),
        ({"database_config": {"connection_string": "postgresql:///d?host=/run&user=u"}}, [STRING]),
        ({"database_config": {"connection_string": "postgresql://u:p@127.0.0.1/d?options=-c%20x"}}, [STRING]),
        ({"database_config": {"connection_string": "postgresql://u:p@127.0.0.1/d?sslmode=prefer"}}, [STRING]),
        ({"database_config": {"connection_string": "postgresql://u:p@127.0.0.1/d%00"}}, [STRING]),
        ({"database_config": {"connection_string": "postgresql://u:p@127.0.0.1:99999/d"}}, [STRING]),
        ({"database_config": {"connection_string": DSN, "ssl": True}}, [STRING]),
        ({"database_config": {"connection_string": STRICT + "\nx"}}, [STRING]),
        ({"database_config": {"connection_string": STRICT, "root_certificate": "x"}}, [ROOTS]),
        ({"database_config": {"connection_string": STRICT, "root_certificate": 1}}, [ROOTS]),
        ({"database_config": {"connection_string": STRICT, "root_certificate": ""}}, [ROOTS]),
        ({"database_config": {"connection_string": STRICT, "root_certificate": "é"}}, [ROOTS]),
        ({"database_config": {"connection_string": DSN, "root_certificate": ROOT}}, [ROOTS]),
        ({"database_config": {"connection_string": STRICT, "root_certificate": ROOT * 200}}, [ROOTS]),
        ({"database_config": "x"}, [STRING]),
        ({"database_config": [1]}, [STRING]),
        (
            {"database_config": {"connection_string": "postgresql://u:p@169.254.169.254/d"}},
            ["body/database_config"],
        ),
        ({"database_type": "mongodb"}, ["body/database_type"]),
        ({"publisher_category": "integration"}, ["body/database_config"]),
        ({"api_url": "http://127.0.0.1:9/"}, ["body/api_url"]),
        ({"billing_model": "pay_per_use"}, ["body/billing_model"]),
    ],
)
async def test_what_is_wrong_with_a_database_is_named(
    client: Client, more: dict[str, Any], pointers: list[str]
) -> None:
    response = await client.post(AT, json={**DATABASE, **more})
    assert response.status == 400
    problem = await response.json()
    assert pointers == [one["pointer"] for one in problem["errors"]]
    assert "s3cret" not in await response.text()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", "10.0.0.1", "db.internal"])
async def test_a_database_is_on_the_public_internet(
    pool: Pool, ports: Ports, member: Member, aiohttp_client: AiohttpClient, host: str
) -> None:
    guarded = replace(ports, guard=Guard(is_private_allowed=False))
    client = await aiohttp_client(app.create(pool, guarded), headers=member.headers)
    config = {"connection_string": f"postgresql://u:p@{host}/d"}
    response = await client.post(AT, json={**DATABASE, "database_config": config})
    assert response.status == 400
    assert [one["pointer"] for one in (await response.json())["errors"]] == ["body/database_config"]


async def test_a_connection_string_is_kept_sealed_until_it_is_taken_away(
    client: Client, pool: Pool, ports: Ports
) -> None:
    publisher = await created(client, DATABASE)
    assert publisher["database_config"] is None
    row = await pool.fetchrow("SELECT organization_id, database_sealed, details FROM publishers")
    assert row is not None
    context = crypto.context(
        row["organization_id"], publisher_id := await pool.fetchval("SELECT id FROM publishers")
    )
    assert ports.keyring.open(row["database_sealed"], context).decode() == DSN
    assert "s3cret" not in str(row["details"])
    at = f"{AT}/{publisher_id}"
    assert (await client.put(at, json={"description": "x"})).status == 200
    assert await pool.fetchval("SELECT database_sealed FROM publishers") == row["database_sealed"]
    # Nothing would be left to be asked.
    assert (await client.put(at, json={"database_config": {}})).status == 400
    assert (
        await client.put(at, json={"database_config": {}, "api_url": "http://127.0.0.1:9/"})
    ).status == 200
    assert await pool.fetchval("SELECT database_sealed FROM publishers") is None
    audit = await pool.fetchval("SELECT coalesce(string_agg(audit_logs::text, ''), '') FROM audit_logs")
    assert "s3cret" not in audit


async def test_a_new_key_seals_it_again(client: Client, pool: Pool, ports: Ports) -> None:
    await created(client, DATABASE)
    before = await pool.fetchval("SELECT database_sealed FROM publishers")
    assert await jobs.reseal(pool, ports.keyring) == 0
    both, only = newer(ports.keyring)
    assert await jobs.reseal(pool, both) == 1
    assert await jobs.reseal(pool, both) == 0
    row = await pool.fetchrow("SELECT id, organization_id, auth_sealed, database_sealed FROM publishers")
    assert row is not None
    assert (row["auth_sealed"], row["database_sealed"] == before) == (None, False)
    context = crypto.context(row["organization_id"], row["id"])
    assert only.open(row["database_sealed"], context).decode() == DSN
