"""Every operation of the document, asked by everybody: what they are told is what the catalogue says."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.api import openapi
from control.api.permissions import BUILT_IN, CATALOGUE, FOR_EVERYBODY, GRANTS, OPERATE, OWN_ACCOUNT, BuiltIn
from control.identity import people
from control.identity.people import Newcomer
from control.processors.port import Processors
from control.rooms import ROOMS
from gateway.kit import ids
from gateway.kit.sql import Pool
from gateway.ledger import accounts
from tests.control.cards import api_of
from tests.control.cards import stripe as stripe
from tests.control.conftest import NETWORKS, Client, bearer, ports_with
from tests.control.subscribing import selling
from tests.fakes.stripe import FakeStripe

Operation = tuple[str, str, dict[str, Any]]

# Operations that refuse a caller who has the permission with 403, by id, each with the reason. Only ever
# shorter.
REFUSED_ALTHOUGH_PERMITTED: set[str] = {
    "get_agent_balance",  # only sellers look up the wallets of others
    "auth.cli_token",  # a key asks for no token: it is one
    "set_recovery",  # the code gives a whole key, so a scoped one gets none
}


def operations() -> list[Operation]:
    """As the document has them, without those of the gateway, which asks for money instead of permissions."""
    paths = openapi.document(ROOMS)["paths"]
    found = [
        (method.upper(), path, one)
        for path, item in paths.items()
        for method, one in item.items()
        if one.get("x-permission")
    ]
    return sorted(
        found, key=lambda one: one[2]["operationId"] in LAST and LAST.index(one[2]["operationId"]) + 1
    )


# There is no server here, which these ask as soon as they know who asks.
NEEDS_A_SERVER = {"studio"}


# They succeed and take away what others are asked about.
LAST = ("delete_project", "v1_delete_project", "v1_delete_org", "leave_organization")


@pytest.fixture
async def owner(pool: Pool) -> Newcomer:
    await accounts.publish_assets(pool, ports_with(NETWORKS).settings.networks)
    return await people.create(pool, "agent", "Owner", None)


@pytest.fixture
async def project(pool: Pool, owner: Newcomer) -> UUID:
    project_id = ids.new()
    await pool.execute(
        "INSERT INTO projects (id, organization_id, name, slug, region, created_by) "
        "VALUES ($1, $2, 'p', 'p', 'local', $3)",
        project_id,
        owner.organization_id,
        owner.user_id,
    )
    return project_id


@pytest.fixture
async def client(pool: Pool, aiohttp_client: AiohttpClient, stripe: FakeStripe) -> AsyncIterator[Client]:
    ports = ports_with(NETWORKS)
    async with api_of(stripe, ports) as api, selling(ports) as polar:
        processors = Processors(stripe=api, polar=polar.api)
        yield await aiohttp_client(app.create(pool, replace(ports, processors=processors)))


async def ask(
    client: Client, one: Operation, headers: dict[str, str], organization_id: UUID, project_id: UUID
) -> int:
    method, path, _ = one
    path = path.replace("{organization_id}", str(organization_id)).replace("{project_id}", str(project_id))
    path = re.sub(r"{\w+}", str(uuid4()), path)
    body: dict[str, Any] | None = None if method == "GET" else {}
    response = await client.request(method, path, json=body, headers=headers)
    await response.read()
    return response.status


async def test_nobody_in_particular_is_401(client: Client, owner: Newcomer, project: UUID) -> None:
    for one in operations():
        assert await ask(client, one, {}, owner.organization_id, project) == 401, one[:2]


async def test_a_stranger_finds_nothing_of_others(
    client: Client, pool: Pool, owner: Newcomer, project: UUID
) -> None:
    headers = await bearer(pool, await people.create(pool, "agent", "Stranger", None))
    for one in operations():
        status = await ask(client, one, headers, owner.organization_id, project)
        if "{organization_id}" in one[1] or "{project_id}" in one[1]:
            assert status == 404, one[:2]
        elif one[2]["x-permission"] == OPERATE:
            assert status == 403, one[:2]
        else:
            # At home everybody is an owner.
            assert (status < 500 and status not in (401, 403)) or is_excepted(one, status), (one[:2], status)


def is_without_a_server(one: Operation, status: int) -> bool:
    return status == 503 and not NEEDS_A_SERVER.isdisjoint(one[2]["tags"])


def is_excepted(one: Operation, status: int) -> bool:
    return status == 403 and one[2]["operationId"] in REFUSED_ALTHOUGH_PERMITTED


@pytest.mark.parametrize("role", [*BUILT_IN, None])
async def test_a_role_may_what_the_catalogue_says(
    client: Client, pool: Pool, owner: Newcomer, project: UUID, role: BuiltIn | None
) -> None:
    held = {"wallet.read"}
    granted = GRANTS[role] if role else held | FOR_EVERYBODY | OWN_ACCOUNT
    member = await people.create(pool, "agent", role or "custom", None)
    role_id = ids.new()
    await pool.execute(
        "INSERT INTO roles (id, organization_id, name, permissions) VALUES ($1, $2, 'some', $3)",
        role_id,
        owner.organization_id,
        sorted(held),
    )
    await pool.execute(
        "INSERT INTO members (organization_id, user_id, role, role_id) VALUES ($1, $2, $3, $4)",
        owner.organization_id,
        member.user_id,
        role,
        None if role else role_id,
    )
    at_home = Newcomer(member.user_id, owner.organization_id, member.created_at)
    headers = await bearer(pool, at_home)
    for one in operations():
        status = await ask(client, one, headers, owner.organization_id, project)
        if is_excepted(one, status):
            continue
        assert (status == 403) == (one[2]["x-permission"] not in granted), (one[:2], status)
        assert status != 401, one[:2]
        assert status < 500 or is_without_a_server(one, status), (one[:2], status)


@pytest.mark.parametrize("permission", sorted(CATALOGUE))
async def test_a_scope_is_all_that_a_key_may(
    client: Client, pool: Pool, owner: Newcomer, project: UUID, permission: str
) -> None:
    headers = await bearer(pool, owner, [permission])
    for one in operations():
        # Each of the others is refused alike; what is not changed may be asked for as often as one likes.
        if one[0] != "GET" and one[2]["x-permission"] != permission:
            continue
        status = await ask(client, one, headers, owner.organization_id, project)
        may = one[2]["x-permission"] in {permission, "permissions.read"} - {OPERATE}
        assert (status == 403) == (not may) or is_excepted(one, status), (one[:2], status)
