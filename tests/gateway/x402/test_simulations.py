"""Transfers that are simulated at a time are one question to the node, and each is judged for itself."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st
from vyper.compiler import compile_code

from gateway.x402 import multicall, rpc
from gateway.x402.facilitator import Authorization, PaymentInvalid
from gateway.x402.local import LocalFacilitator
from tests.gateway.x402.shop import PRICE, Open, Shop
from tests.gateway.x402.test_multicall import SOURCE

MANY = 12
FUNDS = 100 * PRICE
BROKE = "insufficient_funds"
# What comes of three calls, of which the second failed.
WORDS = [32, 3, 96, 224, 320, 1, 64, 32, 77, 0, 64, 0, 1, 64, 0]
RETURNED = b"".join(word.to_bytes(32, "big") for word in WORDS)

Runs = list[str]
"""Of the calls that nodes were asked to run, to whom they are."""


@pytest.fixture
async def address(shop: Shop) -> str:
    code = compile_code(SOURCE, output_formats=["bytecode"])["bytecode"]
    return str((await shop.chain.transact(None, bytes.fromhex(code[2:])))["contractAddress"]).lower()


@pytest.fixture
async def sharing(another: Open, address: str) -> LocalFacilitator:
    return await another(multicall_address=address)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    found: Runs = []
    asked = rpc.Node.post

    async def post(node: rpc.Node, numbered: Sequence[bytes], **options: bool) -> list[Any]:
        questions = [msgspec.json.decode(one) for one in numbered]
        found.extend(one["params"][0]["to"] for one in questions if one["method"] == "eth_call")
        return await asked(node, numbered, **options)

    monkeypatch.setattr(rpc.Node, "post", post)
    return found


async def check(facilitator: LocalFacilitator, signed: Sequence[Authorization]) -> list[int | str | None]:
    """What each payer has, or why the payment would not settle."""
    told = await asyncio.gather(*map(facilitator.check, signed), return_exceptions=True)
    found: list[int | str | None] = []
    for one in told:
        if isinstance(one, BaseException):
            assert isinstance(one, PaymentInvalid), one
            found.append(one.code)
        else:
            found.append(one)
    return found


async def test_a_crowd_is_one_call_and_who_is_alone_is_asked_for_as_ever(
    shop: Shop, sharing: LocalFacilitator, address: str, runs: Runs
) -> None:
    assert await check(sharing, [shop.sign() for _ in range(MANY)]) == [FUNDS] * MANY
    assert runs == [address]
    runs.clear()
    assert await check(sharing, [shop.sign()]) == [FUNDS]
    assert runs == [shop.asset.address] * 2


async def test_what_is_wrong_with_one_is_said_of_that_one(shop: Shop, sharing: LocalFacilitator) -> None:
    used, poor = shop.sign(), Account.create()
    await shop.chain.mint(shop.asset.address, poor.address, PRICE - 1)
    await shop.send_directly(used)
    late, forged = shop.sign(seconds=-10), shop.sign(payer=poor)
    good = [shop.sign() for _ in range(3)]
    told = await check(sharing, [good[0], used, good[1], forged, late, good[2]])
    paid = FUNDS - PRICE
    assert told[:5] == [
        paid,
        "invalid_exact_evm_nonce_already_used",
        paid,
        BROKE,
        "invalid_exact_evm_transaction_simulation_failed",
    ]
    assert told[5] == paid


async def test_a_payer_with_money_for_one_of_many_is_told_of_all_what_it_would_be_told_of_each(
    shop: Shop, sharing: LocalFacilitator
) -> None:
    """That it has not enough for all of them, the claims find out."""
    poor = Account.create()
    await shop.chain.mint(shop.asset.address, poor.address, PRICE)
    signed = [shop.sign(payer=poor) for _ in range(4)]
    assert await check(sharing, [shop.sign(), *signed]) == [FUNDS, *[PRICE] * 4]


async def test_balances_are_read_before_anything_is_moved(shop: Shop, sharing: LocalFacilitator) -> None:
    signed = [shop.sign(amount=PRICE + place) for place in range(MANY)]
    assert await check(sharing, signed) == [FUNDS] * MANY


@pytest.mark.parametrize("size", [2, 3, 7])
async def test_a_call_has_no_more_gas_than_a_node_gives(
    shop: Shop, another: Open, address: str, runs: Runs, size: int
) -> None:
    facilitator = await another(multicall_address=address, gas_limit=multicall.GAS_MAX // size)
    runs.clear()
    assert await check(facilitator, [shop.sign() for _ in range(MANY)]) == [FUNDS] * MANY
    # One balance is for all of them.
    assert runs == [address] * -(-(MANY + 1) // size)


async def test_a_node_that_runs_no_calls_together_is_asked_for_each_and_then_for_a_while(
    shop: Shop, sharing: LocalFacilitator, runs: Runs
) -> None:
    # There is nothing of the kind at this address any more.
    sharing.chain.run_together("0x" + "99" * 20)
    for expected in (1, 0):
        runs.clear()
        assert await check(sharing, [shop.sign() for _ in range(MANY)]) == [FUNDS] * MANY
        assert len(runs) == MANY + 1 + expected


async def test_payments_that_all_fail_say_nothing_of_the_node(
    shop: Shop, sharing: LocalFacilitator, address: str, runs: Runs
) -> None:
    """Nobody's can see to it that the others' are not asked for together."""
    late = [shop.sign(seconds=-10) for _ in range(2)]
    told = await asyncio.gather(*map(sharing.check_again, late), return_exceptions=True)
    assert [type(one) for one in told] == [PaymentInvalid] * 2
    runs.clear()
    assert await check(sharing, [shop.sign() for _ in range(MANY)]) == [FUNDS] * MANY
    assert runs == [address]


def test_results_are_each_calls() -> None:
    assert multicall.results(RETURNED, 3) == [(77).to_bytes(32, "big"), None, b""]


@given(st.integers(0, len(WORDS) - 1), st.integers(0, 2**256 - 1), st.integers(0, len(RETURNED)))
def test_results_that_are_none_are_an_error_of_their_own(place: int, word: int, size: int) -> None:
    garbled = RETURNED[: 32 * place] + word.to_bytes(32, "big") + RETURNED[32 * place + 32 :]
    for returned in (garbled, RETURNED[:size], garbled[:size], b""):
        try:
            found = multicall.results(returned, 3)
        except ValueError:
            continue
        assert len(found) == 3
