"""Which processor there is, and in which money, is what the settings say."""

from typing import Any

import pytest

from config.settings import Settings, SettingsError, load
from control.processors.port import CardPaymentsNotConfigured
from control.roles.base import Misconfigured
from control.roles.charging import charging
from gateway.types import Mode
from tests.control.conftest import LIVE_USDC, NETWORKS, TEST_CENT, TEST_USDC

POLAR = {"access_token": "polar_oat_x", "environment": "sandbox", "product_id": str(TEST_USDC)}


def settings(**more: Any) -> Settings:
    return Settings.model_validate({"networks": NETWORKS, **more})


@pytest.mark.parametrize(
    ("stripe", "mode", "asset"),
    [
        ({"secret_key": "sk_test_1"}, "test", TEST_USDC),
        ({"secret_key": "rk_test_1"}, "test", TEST_USDC),
        ({"secret_key": "sk_live_1"}, "live", LIVE_USDC),
        ({"secret_key": "sk_test_1", "asset": TEST_CENT}, "test", TEST_CENT),
    ],
)
async def test_a_key_takes_its_own_money(stripe: Any, mode: str, asset: Any) -> None:
    async with charging(settings(stripe=stripe)) as processors:
        assert processors.stripe is not None
        assert (processors.stripe.mode, processors.stripe.asset.id) == (mode, asset)
        other: Mode = "live" if processors.stripe.mode == "test" else "test"
        with pytest.raises(CardPaymentsNotConfigured):
            processors.taking(other)


async def test_either_takes_deposits_and_the_first_one_by_default() -> None:
    async with charging(settings(stripe={"secret_key": "sk_test_1"}, polar=POLAR)) as processors:
        found = [processors.taking("test", one).provider for one in (None, "stripe", "polar")]
        assert found == ["stripe", "stripe", "polar"]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"stripe": {"secret_key": "sk_test_1", "asset": LIVE_USDC}}, "FAREBOX_STRIPE__ASSET"),
        ({"stripe": {"secret_key": "sk_test_1"}, "networks": ()}, "FAREBOX_NETWORKS"),
        ({"polar": {**POLAR, "product_id": None}}, "FAREBOX_POLAR__PRODUCT_ID"),
    ],
)
async def test_what_contradicts_itself_does_not_start(more: Any, named: str) -> None:
    with pytest.raises(Misconfigured, match=named):
        async with charging(settings(**more)):
            pass


def test_what_is_no_key_is_refused_without_being_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAREBOX_STRIPE__SECRET_KEY", "pk_test_secret_word")
    with pytest.raises(SettingsError, match="FAREBOX_STRIPE__SECRET_KEY: is no secret key") as refused:
        load()
    assert "secret_word" not in str(refused.value)
