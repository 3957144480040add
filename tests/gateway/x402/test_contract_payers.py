"""Payers that are contracts say themselves what their signature is (ERC-1271)."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import Hash32
from vyper.compiler import compile_code

from control.demo import token as demo_token
from control.demo.chain import Chain
from gateway.kit.sql import Pool
from gateway.x402 import exact, payments
from gateway.x402.facilitator import Authorization, PaymentInvalid
from gateway.x402.local import LocalFacilitator
from tests.gateway.x402.shop import PAY_TO, PRICE, Shop, opened

WALLET = Path(__file__).with_name("wallet.vy").read_text()

# What tokens of the newer kind do: they ask payers that have code. They also have a second method of the same
# name, for signatures of any length. Vyper has no two methods of one name, so a test takes the one it needs.
INTERFACE = """
interface Wallet:
    def isValidSignature(digest: bytes32, signature: Bytes[4096]) -> bytes4: view

"""
KEYS = ("    v: uint8,\n    r: bytes32,\n    s: bytes32,\n):", "self._spend(sender, nonce, message, v, r, s)")
OCTETS = ("    signature: Bytes[2048],\n):", "self._spend_bytes(sender, nonce, message, signature)")
SPEND_BYTES = """
@internal
def _spend_bytes(authorizer: address, nonce: bytes32, message: bytes32, signature: Bytes[2048]):
    assert not self.authorizationState[authorizer][nonce], "authorization is used or canceled"
    digest: bytes32 = keccak256(concat(b"\\x19\\x01", self._domain_separator(), message))
    assert staticcall Wallet(authorizer).isValidSignature(digest, signature) == 0x1626ba7e, "invalid"
    self.authorizationState[authorizer][nonce] = True
"""
KEYS_ONLY = '    assert convert(s, uint256) <= S_MAX, "invalid signature"\n'
WALLETS_TOO = """    if authorizer.codesize > 0:
        packed: Bytes[65] = concat(r, s, convert(v, bytes1))
        assert staticcall Wallet(authorizer).isValidSignature(digest, packed) == 0x1626ba7e, "invalid"
        self.authorizationState[authorizer][nonce] = True
        return
"""


@cache
def bytecode(source: str) -> bytes:
    return bytes.fromhex(compile_code(source, output_formats=["bytecode"])["bytecode"][2:])


def token(*, takes_bytes: bool) -> bytes:
    source = Path(demo_token.__file__).with_suffix(".vy").read_text()
    changes = zip(KEYS, OCTETS, strict=True) if takes_bytes else [(KEYS_ONLY, WALLETS_TOO + KEYS_ONLY)]
    for before, after in changes:
        assert source.count(before) == 1
        source = source.replace(before, after)
    first = source.index("event Transfer")
    return bytecode(source[:first] + INTERFACE + source[first:] + (SPEND_BYTES if takes_bytes else ""))


@pytest.fixture
def takes_bytes() -> bool:
    return False


@pytest.fixture
async def shop(chain: Chain, pool: Pool, takes_bytes: bool) -> Shop:
    deployed = await chain.transact(None, token(takes_bytes=takes_bytes))
    return await opened(chain, pool, str(deployed["contractAddress"]))


@pytest.fixture
async def owner() -> LocalAccount:
    owner: LocalAccount = Account.create()
    return owner


@pytest.fixture
async def wallet(shop: Shop, owner: LocalAccount) -> str:
    """A contract with money, whose owner signs for it."""
    argument = bytes.fromhex(owner.address[2:]).rjust(32, b"\0")
    deployed = await shop.chain.transact(None, bytecode(WALLET) + argument)
    address = str(deployed["contractAddress"]).lower()
    await shop.chain.mint(shop.asset.address, address, 10 * PRICE)
    return address


def signed_for(shop: Shop, wallet: str, owner: LocalAccount, more: bytes = b"") -> Authorization:
    one = replace(shop.sign(), payer=wallet)
    signature = owner.unsafe_sign_hash(Hash32(exact.digest(one))).signature
    return replace(one, signature=bytes(signature) + more)


@pytest.mark.parametrize(
    ("takes_bytes", "more"), [(False, b""), (True, b"\x01"), (True, b"\xaa" * 35), (True, b"\xbb" * 1000)]
)
async def test_a_contract_pays_with_a_signature_that_it_calls_its_own(
    shop: Shop, facilitator: LocalFacilitator, wallet: str, owner: LocalAccount, more: bytes
) -> None:
    authorization = signed_for(shop, wallet, owner, more)
    await facilitator.check(authorization)
    payment_id = await shop.claim(authorization)
    await facilitator.submit(payment_id, authorization, {})
    assert (await facilitator.outcome(payment_id, 30)).outcome == "settled"
    assert await shop.paid() == PRICE
    stored = await payments.get(shop.pool, payment_id)
    assert stored is not None
    assert stored.signature == authorization.signature


async def refusal(facilitator: LocalFacilitator, authorization: Authorization) -> str | None:
    try:
        await facilitator.check(authorization)
    except PaymentInvalid as error:
        return error.code
    return None


async def test_a_contract_does_not_pay_with_anybody_elses_signature(
    shop: Shop, facilitator: LocalFacilitator, wallet: str
) -> None:
    stranger: LocalAccount = Account.create()
    for more in (b"", b"\x01"):
        code = await refusal(facilitator, signed_for(shop, wallet, stranger, more))
        assert code == "invalid_exact_evm_payload_signature"


@pytest.mark.parametrize("length", [1, 64, 66, 500])
async def test_an_account_without_code_pays_with_its_key_only(
    shop: Shop, facilitator: LocalFacilitator, length: int
) -> None:
    one = shop.sign()
    other = replace(one, signature=(one.signature * 10)[:length])
    assert await refusal(facilitator, other) == "invalid_exact_evm_payload_signature"


async def test_an_account_with_delegated_code_does_not_pay_with_its_key(
    shop: Shop, facilitator: LocalFacilitator, wallet: str, owner: LocalAccount
) -> None:
    """EIP-7702: what the key signs counts no more, unless the code says so."""
    await delegate(shop, wallet)
    assert await refusal(facilitator, shop.sign()) == "invalid_exact_evm_payload_signature"


async def delegate(shop: Shop, wallet: str) -> None:
    await shop.chain.fund(shop.payer.address)
    nonce = shop.chain.node.nonce(bytes.fromhex(shop.payer.address[2:]), "latest")
    authorization = shop.payer.sign_authorization(
        {"chainId": shop.chain.chain_id, "address": wallet, "nonce": nonce}
    )
    sender = shop.chain.accounts[0]
    signed = sender.sign_transaction(
        {
            "type": 4,
            "chainId": shop.chain.chain_id,
            "nonce": shop.chain.node.nonce(bytes.fromhex(sender.address[2:]), "pending"),
            "to": bytes.fromhex(PAY_TO[2:]),
            "value": 0,
            "gas": 500_000,
            "maxFeePerGas": 100 * 10**9,
            "maxPriorityFeePerGas": 10**9,
            "authorizationList": [authorization],  # type: ignore[list-item]
        }
    )
    await shop.chain.run(shop.chain.node.send, bytes(signed.raw_transaction))


GREEDY = """# pragma version 0.4.3
@external
@view
def isValidSignature(digest: bytes32, signature: Bytes[4096]) -> bytes4:
    spent: uint256 = 0
    for i: uint256 in range(1000000000):
        spent = convert(keccak256(convert(spent, bytes32)), uint256)
    assert spent > 0
    return 0x1626ba7e
"""


async def test_a_wallet_that_wants_more_gas_than_a_transfer_may_use_is_refused(
    shop: Shop, facilitator: LocalFacilitator, owner: LocalAccount
) -> None:
    deployed = await shop.chain.transact(None, bytecode(GREEDY))
    authorization = signed_for(shop, str(deployed["contractAddress"]).lower(), owner)
    assert await refusal(facilitator, authorization) == "invalid_exact_evm_payload_signature"


@pytest.mark.parametrize(
    ("form", "statement", "is_yes"),
    [
        ("bytes4", "return 0x1626ba7e", True),
        ("bytes4", "return 0x1626ba7f", False),
        ("bool", "return True", False),
        ("bytes32", f"return 0x1626ba7e{'00' * 27}01", False),
        ("bytes32", f"return 0x{'00' * 28}1626ba7e", False),
        ("Bytes[4]", 'return x"1626ba7e"', False),
    ],
)
async def test_only_the_magic_value_in_a_word_of_its_own_is_a_yes(
    shop: Shop, facilitator: LocalFacilitator, owner: LocalAccount, form: str, statement: str, is_yes: bool
) -> None:
    source = (
        "# pragma version 0.4.3\n@external\n@view\n"
        f"def isValidSignature(digest: bytes32, signature: Bytes[4096]) -> {form}:\n    {statement}\n"
    )
    deployed = await shop.chain.transact(None, bytecode(source))
    authorization = signed_for(shop, str(deployed["contractAddress"]).lower(), owner)
    code = await refusal(facilitator, authorization)
    # A wallet that says yes has no money here.
    assert code == ("insufficient_funds" if is_yes else "invalid_exact_evm_payload_signature")
