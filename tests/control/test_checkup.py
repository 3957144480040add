"""What the doctor says of Stripe and Polar."""

from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from config.card_payments import Polar, Stripe
from config.settings import Settings
from control.finding import Finding
from control.processors import checkup
from tests.control.conftest import NETWORKS, ports_with
from tests.fakes.polar import FakePolar
from tests.fakes.polar import running as polar_running
from tests.fakes.stripe import FakeStripe
from tests.fakes.stripe import running as stripe_running

# Nothing listens there.
NOWHERE = "http://127.0.0.1:1"
TEST_ONLY = [one for one in NETWORKS if one["id"] == "eip155:84532"]
LIVE_ONLY = [one for one in NETWORKS if one["id"] != "eip155:84532"]
STRIPE: dict[str, Any] = {
    "secret_key": SecretStr("sk_test_1"),
    "publishable_key": "pk_test_1",
    "webhook_secrets": (SecretStr("whsec_1"),),
    "api_base": NOWHERE,
}
POLAR: dict[str, Any] = {
    "access_token": SecretStr("polar_oat_1"),
    "webhook_secrets": (SecretStr("polar_whs_1"),),
    "environment": "sandbox",
    "api_base": NOWHERE,
    "products": {"pro": uuid4()},
}


def with_processors(networks: list[Any], **processors: Any) -> Settings:
    return ports_with(networks).settings.model_copy(update=processors)


async def examined(settings: Settings) -> list[Finding]:
    return [finding async for finding in checkup.processors(settings)]


async def test_what_is_not_configured_is_well() -> None:
    assert [(one.subject, one.remedy) for one in await examined(with_processors([]))] == [
        ("stripe", None),
        ("polar", None),
    ]


@pytest.mark.parametrize(
    ("changes", "networks", "words"),
    [
        ({}, TEST_ONLY, None),
        ({"secret_key": None}, TEST_ONLY, "no secret key"),
        ({"webhook_secrets": ()}, TEST_ONLY, "no webhook secret"),
        ({"publishable_key": "pk_live_1"}, TEST_ONLY, "the publishable one is not"),
        ({"secret_key": SecretStr("sk_live_1")}, TEST_ONLY, "the publishable one is not"),
        ({}, LIVE_ONLY, "takes the test money"),
        ({"asset": uuid4()}, TEST_ONLY, "takes the test money"),
    ],
)
async def test_stripe_fits_together_or_it_is_said_what_to_do(
    changes: dict[str, Any], networks: list[Any], words: str | None
) -> None:
    found = await examined(with_processors(networks, stripe=Stripe(**STRIPE | changes)))
    said = [one.detail for one in found if one.remedy]
    assert any(words in one for one in said) if words else not said


@pytest.mark.parametrize(
    ("changes", "networks", "words"),
    [
        ({}, TEST_ONLY, None),
        ({"products": {}, "product_id": uuid4()}, TEST_ONLY, None),
        ({"access_token": None}, TEST_ONLY, "no access token"),
        ({"webhook_secrets": ()}, TEST_ONLY, "no webhook secret"),
        ({"products": {}}, TEST_ONLY, "no product"),
        ({"products": {"pro": uuid4(), "gone": uuid4()}}, TEST_ONLY, "no plan that costs something: gone"),
        ({"products": {"free": uuid4()}}, TEST_ONLY, "no plan that costs something: free"),
        ({"environment": "production"}, TEST_ONLY, "plans are not sold"),
        # A sandbox's card is nobody's money, and would buy what live money is paid for.
        ({}, NETWORKS, "plans are not sold"),
        ({}, LIVE_ONLY, "takes the test money"),
    ],
)
async def test_polar_fits_together_or_it_is_said_what_to_do(
    changes: dict[str, Any], networks: list[Any], words: str | None
) -> None:
    found = await examined(with_processors(networks, polar=Polar(**POLAR | changes)))
    said = [one.detail for one in found if one.remedy]
    assert any(words in one for one in said) if words else not said


async def test_a_machine_without_a_way_out_is_no_error() -> None:
    found = await examined(with_processors(TEST_ONLY, stripe=Stripe(**STRIPE), polar=Polar(**POLAR)))
    assert ["cannot be reached" in one.detail for one in found] == [True, True]
    assert [one.remedy for one in found] == [None, None]


async def test_a_key_that_they_know_is_told_from_one_that_they_do_not() -> None:
    async with stripe_running(FakeStripe()) as stripe, polar_running(FakePolar()) as polar:
        for keys, is_well in (((stripe.key, polar.token), True), (("sk_test_no", "polar_oat_no"), False)):
            settings = with_processors(
                TEST_ONLY,
                stripe=Stripe(**STRIPE | {"secret_key": SecretStr(keys[0]), "api_base": stripe.url}),
                polar=Polar(**POLAR | {"access_token": SecretStr(keys[1]), "api_base": polar.url}),
            )
            found = await examined(settings)
            assert [one.remedy is None for one in found] == [is_well] * 2, found
            assert all("it is reached" in one.detail for one in found)
            # What is printed has no secrets in it.
            assert not any(key in str(found) for key in keys)
