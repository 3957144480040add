"""Rules about the management API as a whole."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest
from openapi_spec_validator import validate
from pytest_aiohttp.plugin import AiohttpClient

from control import app
from control.api import openapi, table
from control.api.operation import Operation
from control.api.permissions import CATALOGUE
from control.api.wording import SAID
from control.rooms import ROOMS
from gateway.kit.sql import Pool
from tests.control.conftest import NETWORKS, Client, ports_with

OPERATIONS = [operation for room in ROOMS for operation in room.operations]
CHECKED_IN = Path(__file__).parents[2] / "control" / "openapi.json"

# Operations that a stranger may call, by id, each with the reason.
FOR_ANYONE = {
    "agent_register",          # how a stranger stops being one
    "get_plan",                # a price list
    "list_plans",              # a price list
    "v1_list_plans",           # the same
    "estimate_query",          # a shop window: what a query would cost
    "list_store_publishers",   # a shop window
    "suggest_publishers",      # a shop window
    "get_store_publisher",     # a shop window
    "get_store_publisher_logo",  # a shop window
    "facilitator_supported",   # what a server asks before it sends payments
    "get_supported",           # what a payer asks before it pays
    "onchain_deposit",         # a payment says whose money it is
    "wallet_recover",          # whoever lost the key has a code instead
    "oauth_callback",          # a browser comes back; the state says on whose behalf
    "oauth_callback_by_id",    # the same
    "x402_resources",          # what a crawler asks
    # Ways in, for people who are strangers yet. What each takes proves enough, or it tells nothing.
    "signup",
    "login",
    "refresh_token",
    "verify_email",
    "resend_verification_email",
    "forgot_password",
    "reset_password",
    "auth.sign_up",
    "auth.sign_in",
    "auth.sign_in_social",
    "auth.send_magic_link",
    "auth.verify_magic_link",
    "auth.send_verification",
    "auth.verify_email_link",
    "auth.request_reset",
    "auth.forget_password",
    "auth.reset_password",
    "handle_stripe_webhook",   # by a signature
    "handle_polar_webhook",
    "v1_handle_polar_webhook",
    "auth.get_session",        # null says that there is none
}  # fmt: skip


@pytest.fixture
async def stranger(pool: Pool, aiohttp_client: AiohttpClient) -> Client:
    return await aiohttp_client(app.create(pool, ports_with(NETWORKS)))


async def test_a_stranger_is_refused_everywhere(stranger: Client) -> None:
    open_to_anyone = set()
    for operation in OPERATIONS:
        path = re.sub(r"{\w+}", str(uuid4()), operation.path)
        response = await stranger.request(operation.method, path, json={})
        # A refresh token is asked for in the body, so that one is 401 without it.
        if response.status != 401 or operation.access is None:
            open_to_anyone.add(operation.id)
    assert open_to_anyone == FOR_ANYONE


async def test_a_stranger_learns_nothing_from_a_malformed_request(stranger: Client) -> None:
    for operation in OPERATIONS:
        if operation.id in FOR_ANYONE:
            continue
        path = re.sub(r"{\w+}", "x", operation.path)
        response = await stranger.request(operation.method, path, data=b"{", params={"limit": "x"})
        assert response.status == 401, operation.id


def test_every_pattern_is_said_in_words() -> None:
    """Whoever mistypes a value is told what it should be, and not a regular expression."""
    checks = [
        adapter.core_schema
        for operation in OPERATIONS
        for adapter in (operation.body, *(item.adapter for item in operation.inputs))
        if adapter is not None
    ]
    assert set(patterns_in(checks)) - SAID.keys() == set()


def patterns_in(schema: object) -> Iterator[str]:
    if isinstance(schema, Mapping):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        schema = list(schema.values())
    if isinstance(schema, list | tuple):
        for part in schema:
            yield from patterns_in(part)


def test_openapi_is_current() -> None:
    assert json.loads(CHECKED_IN.read_text()) == openapi.document(ROOMS), (
        "run the command in control/__main__"
    )


def test_the_table_of_operations_is_current() -> None:
    readme = (CHECKED_IN.parent / "README.md").read_text()
    assert readme == table.put_into(readme, ROOMS), "run: python -m control table"


def test_openapi_is_valid() -> None:
    validate(openapi.document(ROOMS))


def test_openapi_has_its_sections_in_an_order_of_sense() -> None:
    made = openapi.document(ROOMS)
    used = {tag for path in made["paths"].values() for one in path.values() for tag in one.get("tags", ())}
    names = [one["name"] for one in made["tags"]]
    assert (names[:3], set(names)) == (["gateway", "publishers", "wallet"], used)
    assert len(set(names)) == len(names)


def test_openapi_names_the_permission_of_every_operation() -> None:
    described = [one for path in openapi.document(ROOMS)["paths"].values() for one in path.values()]
    permissions = {one["operationId"]: one.get("x-permission") for one in described}
    assert permissions.items() >= {operation.id: operation.access for operation in OPERATIONS}.items()


def test_operation_ids_are_distinct() -> None:
    described = [one for path in openapi.document(ROOMS)["paths"].values() for one in path.values()]
    names = [one["operationId"] for one in described]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.id)
def test_an_operation_says_what_it_does(operation: Operation) -> None:
    summary = (operation.handler.__doc__ or "").split("\n")[0]
    assert summary
    assert summary.endswith((".", ":")), summary


def test_permissions_are_a_resource_and_an_action() -> None:
    assert [one for one in CATALOGUE if not re.fullmatch(r"[a-z_]+\.[a-z]+", one)] == []
    assert list(CATALOGUE) == sorted(CATALOGUE)


def test_every_permission_is_asked_for() -> None:
    # The gateway asks for wallet.spend, and a deposit that comes with a key for wallet.deposit.
    elsewhere = {"wallet.deposit", "wallet.spend"}
    assert set(CATALOGUE) == {operation.access for operation in OPERATIONS if operation.access} | elsewhere
