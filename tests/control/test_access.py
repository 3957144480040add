import asyncio
from typing import Any
from uuid import uuid4

import pytest

from control.api import access, credentials
from control.api.permissions import CATALOGUE, GRANTS, OWN_ACCOUNT, OWNER, BuiltIn
from control.api.ports import Ports
from gateway.kit import keys
from gateway.kit.problem import Unauthorized
from gateway.kit.sql import Pool
from gateway.ledger.accounts import PLATFORM
from tests.control.conftest import Client, Member, bearer, join

PUBLISHERS = "/organizations/default/publishers"


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic eDp4",
        "Bearer é",
        f"Bearer {keys.new('live')}",          # well-formed, and nobody's
        f"Bearer {keys.new('live')[:-1]}!",    # mistyped
    ],
    ids=["empty", "no key", "blank", "short", "basic", "no ASCII", "unknown", "mistyped"],
)  # fmt: skip
async def test_an_unknown_key_is_401(client: Client, authorization: str) -> None:
    response = await client.get(PUBLISHERS, headers={"Authorization": authorization})
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert (await response.json())["code"] == "unauthorized"


class Untouched:
    """A database that nothing may be asked of."""


@pytest.mark.parametrize(
    "key",
    ["", "x", keys.new("test")[:-1] + "!", keys.new("test") + "a"],
    ids=["empty", "short", "wrong character", "too long"],
)
async def test_a_mistyped_key_costs_no_query(key: str, ports: Ports) -> None:
    nobody: Any = Untouched()
    with pytest.raises(Unauthorized):
        await credentials.present(nobody, ports.asking("GET", {"Authorization": f"Bearer {key}"}))


async def test_a_key_that_is_no_text_is_401(client: Client) -> None:
    """Clients refuse to send such bytes; attackers write them to the socket."""
    assert client.port is not None
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(
        f"GET {PUBLISHERS} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer ".encode()
        + b"\xff\xfe\r\n\r\n"
    )
    assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
    writer.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE api_keys SET revoked_at = now()",
        "UPDATE api_keys SET expires_at = now()",
        "UPDATE organizations SET deleted_at = now()",
        "DELETE FROM members",
    ],
)
async def test_a_key_that_no_longer_counts_is_401(client: Client, pool: Pool, change: str) -> None:
    assert (await client.get(PUBLISHERS)).status == 200
    await pool.execute(change)
    assert (await client.get(PUBLISHERS)).status == 401


async def test_a_key_that_expires_later_counts(client: Client, pool: Pool) -> None:
    await pool.execute("UPDATE api_keys SET expires_at = now() + interval '1 hour'")
    assert (await client.get(PUBLISHERS)).status == 200


async def test_scopes_narrow_a_key(client: Client, pool: Pool, member: Member) -> None:
    reader = await bearer(pool, member.id, ["publishers.read"])
    assert (await client.get(PUBLISHERS, headers=reader)).status == 200
    refused = await client.post(PUBLISHERS, json={}, headers=reader)
    problem = await refused.json()
    assert (refused.status, problem["code"]) == (403, "forbidden")
    assert problem["message"] == "this key lacks publishers.write"


async def test_scopes_do_not_widen_a_role(client: Client, pool: Pool, member: Member) -> None:
    await pool.execute("UPDATE members SET role = 'viewer'")
    writer = await bearer(pool, member.id, ["publishers.write"])
    assert (await client.post(PUBLISHERS, json={}, headers=writer)).status == 403


@pytest.mark.parametrize(
    "path", ["publishers", "api-keys", "publishers/00000000-0000-7000-8000-000000000000"]
)
async def test_a_foreign_organization_looks_like_an_unknown_one(
    client: Client, pool: Pool, path: str
) -> None:
    foreign = (await join(pool)).organization_id
    answers = []
    for organization_id in [foreign, str(uuid4()), str(PLATFORM)]:
        response = await client.get(f"/organizations/{organization_id}/{path}")
        answers.append((response.status, (await response.text()).replace(organization_id, "")))
    assert answers[0][0] == 404
    assert len(set(answers)) == 1


async def test_default_is_the_organization_of_the_key(client: Client, member: Member) -> None:
    for name in [member.organization_id, member.organization_id.upper(), "default"]:
        assert (await client.get(f"/organizations/{name}/publishers")).status == 200


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("owner", {"api_keys.write", "publishers.write", "wallet.spend"}, {"platform.operate"}),
        ("admin", {"api_keys.write", "publishers.write", "wallet.spend"}, {"platform.operate"}),
        ("editor", {"publishers.write", "wallet.spend"}, {"api_keys.write"}),
        (
            "viewer",
            {"publishers.read", "wallet.read"},
            {"publishers.write", "wallet.spend", "wallet.deposit"},
        ),
    ],
)
def test_a_role_grants(role: BuiltIn, may: set[str], may_not: set[str]) -> None:
    assert may <= GRANTS[role]
    assert not may_not & GRANTS[role]


def test_every_permission_is_granted_to_somebody() -> None:
    assert access.granted(PLATFORM, "owner", None) == set(CATALOGUE)


def test_only_the_platform_operates_the_platform() -> None:
    assert access.granted(uuid4(), "owner", None) == OWNER
    assert "platform.operate" in access.granted(PLATFORM, "admin", None)
    assert "platform.operate" not in access.granted(PLATFORM, "viewer", None)


def test_a_custom_role_grants_what_it_lists_and_never_the_platform() -> None:
    custom = ["wallet.read", "platform.operate", "gone.permission"]
    assert access.granted(PLATFORM, None, custom) == {"wallet.read"} | OWN_ACCOUNT
