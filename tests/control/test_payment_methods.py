"""Cards that stay: Stripe has them, and we what they are called."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from control.processors import methods
from gateway.kit.sql import Pool
from tests.control.cards import Till
from tests.control.cards import stripe as stripe
from tests.control.cards import till as till
from tests.control.conftest import Client, join, refused_fields

PATH = "/billing/payment-methods"


async def add(till: Till, card: Any, *, is_default: bool = False, **headers: str) -> str:
    body = {"stripe_payment_method_id": card["id"], "set_as_default": is_default}
    response = await till.client.post(PATH, json=body, headers=headers)
    assert response.status == 200, await response.text()
    return str((await response.json())["data"]["id"])


async def listed(till: Till) -> list[tuple[str, bool]]:
    response = await till.client.get(PATH)
    assert response.status == 200
    return [(one["card_last4"], one["is_default"]) for one in (await response.json())["data"]]


async def test_a_card_is_added_listed_and_removed(till: Till, pool: Pool) -> None:
    response = await till.client.post(f"{PATH}/setup-intents")
    setup = (await response.json())["data"]
    assert setup["client_secret"].startswith(setup["id"] + "_secret_")
    assert setup["publishable_key"] == "pk_test_TYooMQauvdEDq54NiTphI7jx"
    card = till.stripe.card()
    method_id = await add(till, card)
    response = await till.client.get(PATH)
    assert (await response.json())["data"] == [
        {
            "id": method_id, "type_": "card", "card_brand": "visa", "card_last4": "4242", "card_exp_month": 8,
            "card_exp_year": 2030, "bank_last4": None, "is_default": True,
        }
    ]  # fmt: skip
    customer = await pool.fetchval("SELECT provider_id FROM processor_customers")
    assert till.stripe.objects[card["id"]]["customer"] == customer
    assert (await till.client.delete(f"{PATH}/{method_id}")).status == 204
    assert (await till.client.delete(f"{PATH}/{method_id}")).status == 404
    assert await listed(till) == []
    assert till.clerk.processors.stripe is not None
    assert await methods.detach(pool, till.clerk.processors.stripe) == 1
    assert await methods.detach(pool, till.clerk.processors.stripe) == 0
    assert till.stripe.objects[card["id"]]["customer"] is None


async def test_one_card_is_the_default(till: Till) -> None:
    first = await add(till, till.stripe.card(last4="1111"))
    await add(till, till.stripe.card(last4="2222"))
    assert await listed(till) == [("1111", True), ("2222", False)]
    third = await add(till, till.stripe.card(last4="3333"), is_default=True)
    assert await listed(till) == [("3333", True), ("1111", False), ("2222", False)]
    await till.client.delete(f"{PATH}/{third}")
    assert await listed(till) == [("1111", True), ("2222", False)]
    await till.client.delete(f"{PATH}/{first}")
    assert await listed(till) == [("2222", True)]


async def test_cards_that_are_added_at_once_have_one_default(till: Till, pool: Pool) -> None:
    cards = [till.stripe.card(last4=f"000{n}") for n in range(3, 8)]
    await asyncio.gather(*(add(till, one, is_default=True) for one in cards))
    assert [is_default for _, is_default in await listed(till)] == [True, False, False, False, False]
    assert await pool.fetchval("SELECT count(*) FROM processor_customers") == 1
    assert len([one for one in till.stripe.objects.values() if one["object"] == "customer"]) == 1


async def test_adding_twice_is_adding_once(till: Till) -> None:
    card = till.stripe.card()
    made = await asyncio.gather(*(add(till, card) for _ in range(3)))
    assert (len(set(made)), await listed(till)) == (1, [("4242", True)])


async def test_the_card_of_others_cannot_be_added(till: Till, pool: Pool) -> None:
    card = till.stripe.card()
    method_id = await add(till, card)
    other = await join(pool)
    body = {"stripe_payment_method_id": card["id"], "set_as_default": True}
    response = await till.client.post(PATH, json=body, headers=other.headers)
    assert await refused_fields(response) == ["body/stripe_payment_method_id"]
    assert (await till.client.delete(f"{PATH}/{method_id}", headers=other.headers)).status == 404
    response = await till.client.get(PATH, headers=other.headers)
    assert (await response.json())["data"] == []
    assert (await till.client.delete(f"{PATH}/{UUID(int=7)}")).status == 404


async def test_a_card_that_its_bank_refuses_is_402(till: Till) -> None:
    body = {"stripe_payment_method_id": till.stripe.card(last4="0002")["id"], "set_as_default": False}
    response = await till.client.post(PATH, json=body)
    problem = await response.json()
    assert (response.status, problem["code"]) == (402, "card-refused")
    assert problem["detail"] == "Your card was declined."
    assert await listed(till) == []


@pytest.mark.parametrize("named", ["pm_unknown", "cus_1", "pm_1/../x", "4242424242424242", ""])
async def test_what_is_no_card_is_refused(till: Till, named: str) -> None:
    body = {"stripe_payment_method_id": named, "set_as_default": True}
    assert await refused_fields(await till.client.post(PATH, json=body)) == ["body/stripe_payment_method_id"]
    assert await refused_fields(await till.client.post(PATH, json={})) == [
        "body/stripe_payment_method_id",
        "body/set_as_default",
    ]


async def test_stripe_tells_what_became_of_a_card(till: Till) -> None:
    card = till.stripe.card(last4="1111")
    await add(till, card)
    await add(till, till.stripe.card(last4="2222"))
    card["card"] |= {"last4": "9999", "exp_year": 2035}
    await till.tell("payment_method.automatically_updated", card)
    await till.work()
    assert await listed(till) == [("9999", True), ("2222", False)]
    card["customer"] = None
    await till.tell("payment_method.detached", card)
    await till.work()
    assert await listed(till) == [("2222", True)]


async def test_without_a_key_cards_are_503(client: Client) -> None:
    response = await client.post(PATH, json={"stripe_payment_method_id": "pm_1", "set_as_default": True})
    assert (response.status, (await response.json())["code"]) == (503, "card-payments-not-configured")
    assert (await client.get(PATH)).status == 200


async def test_stripe_being_away_is_503(till: Till) -> None:
    till.stripe.is_down = True
    response = await till.client.post(f"{PATH}/setup-intents")
    assert (response.status, (await response.json())["code"]) == (503, "payment-processor-unavailable")
