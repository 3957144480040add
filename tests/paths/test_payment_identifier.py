"""What a payer calls its payment, so that one it signs anew is not a second one."""

from typing import Any

import pytest
from aiohttp import web

from control.agent.client import Reply, decode, encode
from tests.paths.conftest import DOLLAR, Farebox

QUARTER = DOLLAR // 4
NAME = "order-2026-11-21-0001"


async def pay(farebox: Farebox, method: str, url: str, name: Any, **more: Any) -> Reply:
    """With an authorization of its own each time."""
    challenge = await farebox.agent.ask(method, url, **more)
    assert challenge.status == 402
    payment = decode(farebox.agent.sign(challenge))
    payment["extensions"] = extensions_of(challenge)
    payment["extensions"]["payment-identifier"]["info"]["id"] = name
    headers = {"PAYMENT-SIGNATURE": encode(payment)}
    return await farebox.agent.ask(method, url, headers=headers, **more)


def extensions_of(challenge: Reply) -> Any:
    return decode(challenge.headers["PAYMENT-REQUIRED"])["extensions"]


async def on_chain(farebox: Farebox) -> int:
    return await farebox.chain.balance(farebox.token, farebox.platform_wallet)


@pytest.mark.parametrize("flow", ["authorization", "upfront"])
async def test_a_payment_that_is_signed_anew_is_not_charged_again(farebox: Farebox, flow: str) -> None:
    url = await farebox.publish(payment_flow=flow) + "/x"
    first = await pay(farebox, "GET", url, NAME)
    assert first.status == 200
    # Not even an empty wallet is an occasion to ask for more.
    await farebox.move(farebox.chain.accounts[2], farebox.chain.accounts[7].address, 10 * DOLLAR - QUARTER)
    again = await pay(farebox, "GET", url, NAME)
    assert again.payment["success"] is True
    assert (again.status, again.headers["Idempotent-Replayed"], again.text) == (200, "true", first.text)
    assert len(farebox.upstream.seen) == 1
    assert await on_chain(farebox) == QUARTER


async def test_a_name_belongs_to_its_request(farebox: Farebox) -> None:
    url = await farebox.publish() + "/x"
    assert (await pay(farebox, "GET", url, NAME)).status == 200
    for other in (url + "?n=2", url + "/y"):
        taken = await pay(farebox, "GET", other, NAME)
        assert (taken.status, taken.json["code"]) == (409, "payment-identifier-conflict")
    assert (await pay(farebox, "GET", url + "?n=2", NAME + "-2")).status == 200
    assert await on_chain(farebox) == 2 * QUARTER


async def test_a_call_that_cost_nothing_gives_its_name_back(farebox: Farebox) -> None:
    url = await farebox.publish() + "/x"

    async def fail(request: web.Request) -> web.StreamResponse:
        return web.Response(status=500)

    farebox.upstream.handler = fail
    assert (await pay(farebox, "GET", url, NAME)).status == 500
    farebox.upstream.handler = None
    assert (await pay(farebox, "GET", url, NAME)).status == 200
    assert await on_chain(farebox) == QUARTER


@pytest.mark.parametrize(
    "name",
    [
        "x" * 15,
        "x" * 129,
        "with a space in it",
        "trailing-newline\n",
        "umläut-umläut-umläut",
        12345678901234567,
    ],
)
async def test_a_name_has_a_form(farebox: Farebox, name: object) -> None:
    url = await farebox.publish() + "/x"
    refused = await pay(farebox, "GET", url, name)
    assert (refused.status, refused.json["code"]) == (400, "invalid-request")


async def test_a_publisher_may_want_one(farebox: Farebox) -> None:
    url = await farebox.publish(requires_payment_identifier=True) + "/x"
    challenge = await farebox.agent.ask("GET", url)
    assert extensions_of(challenge)["payment-identifier"]["info"] == {"required": True}
    nameless = await farebox.agent.pay("GET", url, challenge)
    assert (nameless.status, nameless.json["code"]) == (400, "payment-identifier-required")
    assert (await pay(farebox, "GET", url, None)).status == 400
    assert (await pay(farebox, "GET", url, NAME)).status == 200
