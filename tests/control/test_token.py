"""The test token on the demonstration chain, and that what is shipped is what its source says."""

import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import vyper
from eth_abi.abi import decode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from vyper.compiler import compile_code
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.contract.async_contract import AsyncContract
from web3.exceptions import ContractLogicError

from control.agent import wallet
from control.demo import token
from control.demo.chain import Chain, running

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
PAYEE = to_checksum_address("0x" + "b0b0" * 10)
SOURCE = Path(token.__file__).with_suffix(".vy")


@pytest.fixture
async def chain() -> AsyncIterator[Chain]:
    async with running() as chain:
        yield chain


@pytest.fixture
async def contract(chain: Chain) -> AsyncIterator[AsyncContract]:
    provider = AsyncHTTPProvider(chain.rpc_url)
    address = to_checksum_address(await chain.deploy_token())
    yield AsyncWeb3(provider).eth.contract(address, abi=token.ABI)
    await provider.disconnect()


@pytest.fixture
async def payer(chain: Chain, contract: AsyncContract) -> LocalAccount:
    """Has a hundred atomic units of the token."""
    payer: LocalAccount = Account.create()
    await chain.mint(contract.address, payer.address, 100)
    return payer


def authorization(chain: Chain, contract: AsyncContract, payer: LocalAccount, **changes: int) -> list[Any]:
    """The arguments of ``transferWithAuthorization`` for 40 units, with ``changes`` made before signing."""
    terms = {
        "network": chain.network,
        "amount": str(changes.get("amount", 40)),
        "asset": contract.address,
        "payTo": PAYEE,
        "maxTimeoutSeconds": 60,
        "extra": {"name": token.NAME, "version": token.VERSION},
    }
    signed = wallet.sign_payment(payer.key, terms, int(time.time()) + changes.get("later", 0))
    return arguments(signed)


def arguments(payload: Mapping[str, Any]) -> list[Any]:
    one, signature = payload["authorization"], bytes.fromhex(payload["signature"][2:])
    times = int(one["value"]), int(one["validAfter"]), int(one["validBefore"])
    return [
        one["from"], one["to"], *times, bytes.fromhex(one["nonce"][2:]),
        signature[64], signature[:32], signature[32:64],
    ]  # fmt: skip


async def send(chain: Chain, contract: AsyncContract, name: str, *values: object) -> Mapping[str, Any]:
    data = contract.encode_abi(name, args=list(values))
    return await chain.transact(contract.address, bytes.fromhex(data[2:]), sender=chain.accounts[1])


def test_the_shipped_bytecode_is_what_the_source_compiles_to() -> None:
    assert f"vyper {vyper.__version__}" == token.COMPILED["compiler"]
    compiled = compile_code(SOURCE.read_text(), output_formats=["abi", "bytecode"])
    assert compiled["bytecode"] == token.COMPILED["bytecode"]
    assert compiled["abi"] == token.COMPILED["abi"]


async def test_the_token_says_what_it_is(contract: AsyncContract) -> None:
    names = ["name", "symbol", "version", "decimals"]
    found = [await contract.functions[name]().call() for name in names]
    assert found == [token.NAME, token.SYMBOL, token.VERSION, token.DECIMALS]


async def test_a_signed_authorization_moves_money_once(
    chain: Chain, contract: AsyncContract, payer: LocalAccount
) -> None:
    signed = authorization(chain, contract, payer)
    receipt = await send(chain, contract, "transferWithAuthorization", *signed)
    assert await chain.balance(contract.address, payer.address) == 60
    assert await chain.balance(contract.address, PAYEE) == 40
    assert await contract.functions.authorizationState(payer.address, signed[5]).call()
    used, moved = receipt["logs"]
    assert used["topics"][2] == "0x" + signed[5].hex()
    assert decode(["uint256"], bytes.fromhex(moved["data"][2:])) == (40,)
    with pytest.raises(ContractLogicError, match="authorization is used or canceled"):
        await contract.functions.transferWithAuthorization(*signed).call()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"amount": 101}, "amount exceeds the balance"),
        ({"later": 3600}, "authorization is not yet valid"),
        ({"later": -3600}, "authorization is expired"),
    ],
)
async def test_an_authorization_that_cannot_hold_is_refused(
    chain: Chain, contract: AsyncContract, payer: LocalAccount, changes: dict[str, int], reason: str
) -> None:
    signed = authorization(chain, contract, payer, **changes)
    with pytest.raises(ContractLogicError, match=reason):
        await contract.functions.transferWithAuthorization(*signed).call()


@pytest.mark.parametrize("position", range(6))
async def test_what_was_signed_cannot_be_altered(
    chain: Chain, contract: AsyncContract, payer: LocalAccount, position: int
) -> None:
    signed = authorization(chain, contract, payer)
    other = [chain.accounts[2].address, chain.accounts[2].address, 41, 0, signed[4] + 1, bytes(32)]
    signed[position] = other[position]
    with pytest.raises(ContractLogicError, match="invalid signature"):
        await contract.functions.transferWithAuthorization(*signed).call()


async def test_the_second_form_of_a_signature_is_refused(
    chain: Chain, contract: AsyncContract, payer: LocalAccount
) -> None:
    *signed, v, r, s = authorization(chain, contract, payer)
    mirrored = (ORDER - int.from_bytes(s)).to_bytes(32)
    with pytest.raises(ContractLogicError, match="invalid signature"):
        await contract.functions.transferWithAuthorization(*signed, 55 - v, r, mirrored).call()


async def test_a_signature_of_nobody_does_not_speak_for_the_zero_address(
    chain: Chain, contract: AsyncContract, payer: LocalAccount
) -> None:
    signed = authorization(chain, contract, payer)
    signed[0], signed[6] = "0x" + "00" * 20, 0
    with pytest.raises(ContractLogicError, match="invalid signature"):
        await contract.functions.transferWithAuthorization(*signed).call()


async def test_a_canceled_authorization_is_spent(
    chain: Chain, contract: AsyncContract, payer: LocalAccount
) -> None:
    signed = authorization(chain, contract, payer)
    domain = {
        "name": token.NAME,
        "version": token.VERSION,
        "chainId": chain.chain_id,
        "verifyingContract": contract.address,
    }
    types = {
        "CancelAuthorization": [
            {"name": "authorizer", "type": "address"},
            {"name": "nonce", "type": "bytes32"},
        ]
    }
    canceled = Account.sign_typed_data(
        payer.key, domain, types, {"authorizer": payer.address, "nonce": signed[5]}
    )
    form = canceled.v, canceled.r.to_bytes(32), canceled.s.to_bytes(32)
    await send(chain, contract, "cancelAuthorization", payer.address, signed[5], *form)
    with pytest.raises(ContractLogicError, match="authorization is used or canceled"):
        await contract.functions.transferWithAuthorization(*signed).call()


async def test_only_the_deployer_mints(chain: Chain, contract: AsyncContract) -> None:
    with pytest.raises(ContractLogicError, match="only the deployer mints"):
        await contract.functions.mint(PAYEE, 1).call({"from": chain.accounts[1].address})


async def test_an_allowance_is_spent_with_the_money(chain: Chain, contract: AsyncContract) -> None:
    owner, spender = chain.accounts[0], chain.accounts[1]
    await chain.mint(contract.address, owner.address, 100)
    approval = contract.encode_abi("approve", args=[spender.address, 70])
    await chain.transact(contract.address, bytes.fromhex(approval[2:]), sender=owner)
    await send(chain, contract, "transferFrom", owner.address, PAYEE, 50)
    assert await chain.balance(contract.address, PAYEE) == 50
    with pytest.raises(ContractLogicError, match="amount exceeds the allowance"):
        await contract.functions.transferFrom(owner.address, PAYEE, 21).call({"from": spender.address})
