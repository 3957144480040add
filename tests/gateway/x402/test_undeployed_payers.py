"""Wallets that nobody has deployed yet pay where the settings allow their factory (ERC-6492)."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import Hash32
from vyper.compiler import compile_code

from control.demo.chain import Chain
from gateway.kit.sql import Pool
from gateway.x402 import exact, token, undeployed
from gateway.x402.chain import Chain as Node
from gateway.x402.facilitator import Authorization, PaymentInvalid
from gateway.x402.local import LocalFacilitator
from tests.anvil import Anvil
from tests.gateway.x402.shop import PRICE, Shop, opened
from tests.gateway.x402.test_contract_payers import WALLET, bytecode
from tests.gateway.x402.test_contract_payers import token as token_that_asks

FACTORY = Path(__file__).with_name("factory.vy").read_text()
SALT = bytes(32)


@dataclass
class Street:
    shop: Shop
    factory: str
    owner: LocalAccount
    wallet: str
    """Where the owner's wallet will be."""

    def deployment(self, name: bytes = b"create", salt: bytes = SALT) -> bytes:
        form = token.selector(name + b"(address,bytes32)")
        return form + encode(["address", "bytes32"], [self.owner.address, salt])

    def sign(
        self, owner: LocalAccount | None = None, more: bytes = b"\x01", **wrapped: object
    ) -> Authorization:
        one = replace(self.shop.sign(), payer=self.wallet)
        inner = bytes((owner or self.owner).unsafe_sign_hash(Hash32(exact.digest(one))).signature) + more
        parts = {"factory": self.factory, "deployment": self.deployment(), "inner": inner, **wrapped}
        packed = encode(["address", "bytes", "bytes"], list(parts.values()))
        return replace(one, signature=packed + undeployed.MAGIC)

    async def is_deployed(self) -> bool:
        return bool(await asked(self.shop.chain, "eth_getCode", self.wallet) != "0x")


async def asked(chain: Chain, method: str, parameter: object) -> str:
    node = Node(chain.rpc_url)
    try:
        return str(await node.ask(method, parameter, "latest"))
    finally:
        await node.close()


async def built(chain: Chain, pool: Pool) -> Street:
    asset = await chain.transact(None, token_that_asks(takes_bytes=True))
    shop = await opened(chain, pool, str(asset["contractAddress"]))
    blueprint = bytes.fromhex(
        compile_code(WALLET, output_formats=["blueprint_bytecode"])["blueprint_bytecode"][2:]
    )
    wallets = str((await chain.transact(None, blueprint))["contractAddress"])
    made = await chain.transact(None, bytecode(FACTORY) + bytes.fromhex(wallets[2:]).rjust(32, b"\0"))
    street = Street(shop, str(made["contractAddress"]).lower(), Account.create(), "")
    request = {"to": street.factory, "data": "0x" + street.deployment().hex()}
    street.wallet = "0x" + (await asked(chain, "eth_call", request))[-40:]
    await chain.mint(shop.asset.address, street.wallet, 2 * PRICE)
    return street


@pytest.fixture
async def street(chain: Chain, pool: Pool) -> Street:
    return await built(chain, pool)


@pytest.fixture
async def facilitator(street: Street) -> AsyncIterator[LocalFacilitator]:
    network = street.shop.network.model_copy(
        update={"wallet_factories": (street.factory.upper().replace("0X", "0x"),)}
    )
    facilitator = LocalFacilitator(street.shop.pool, network)
    yield facilitator
    await facilitator.close()


async def refusal(facilitator: LocalFacilitator, authorization: Authorization) -> str | None:
    try:
        await facilitator.check(authorization)
    except PaymentInvalid as error:
        return error.code
    return None


async def test_a_wallet_is_deployed_and_charged_in_one_transaction(
    street: Street, facilitator: LocalFacilitator
) -> None:
    authorization, shop = street.sign(), street.shop
    assert await facilitator.check(authorization) == 2 * PRICE
    assert not await street.is_deployed()
    payment_id = await shop.claim(authorization)
    await facilitator.submit(payment_id, authorization, {})
    assert (await facilitator.outcome(payment_id, 30)).outcome == "settled"
    assert (await shop.paid(), await street.is_deployed()) == (PRICE, True)
    assert await shop.pool.fetchval("SELECT count(*) FROM chain_transactions") == 1
    # It may sign like that once more: the factory's call fails, and the transfer does not need it.
    again = street.sign()
    await facilitator.check(again)
    payment_id = await shop.claim(again)
    await facilitator.submit(payment_id, again, {})
    assert (await facilitator.outcome(payment_id, 30)).outcome == "settled"
    assert await shop.paid() == 2 * PRICE
    # The same authorization is spent, and nobody else's is.
    assert await refusal(facilitator, again) == "invalid_exact_evm_nonce_already_used"
    assert await refusal(facilitator, street.sign()) == "insufficient_funds"


async def test_without_an_allowed_factory_it_is_refused(street: Street) -> None:
    none = LocalFacilitator(street.shop.pool, street.shop.network)
    assert await refusal(none, street.sign()) == "invalid_exact_evm_payload_undeployed_smart_wallet"
    other = street.shop.network.model_copy(update={"wallet_factories": ("0x" + "77" * 20,)})
    strict = LocalFacilitator(street.shop.pool, other)
    assert await refusal(strict, street.sign()) == "eip6492_factory_not_allowed"
    await none.close()
    await strict.close()


async def test_what_is_not_signed_by_the_wallet_to_be_is_refused(
    street: Street, facilitator: LocalFacilitator
) -> None:
    stranger: LocalAccount = Account.create()
    bad = "invalid_exact_evm_payload_signature"
    one = street.sign()
    assert [
        await refusal(facilitator, street.sign(owner=stranger)),
        # Deployed somewhere else, so nobody is there to ask.
        await refusal(facilitator, street.sign(deployment=street.deployment(salt=b"\x01" * 32))),
        await refusal(facilitator, street.sign(deployment=b"")),
        # As much gas as it likes is not there, and none is left to ask the wallet with.
        await refusal(facilitator, street.sign(deployment=street.deployment(b"waste"))),
        await refusal(facilitator, street.sign(inner=b"")),
        await refusal(facilitator, street.sign(inner=one.signature)),
        await refusal(facilitator, replace(one, signature=undeployed.MAGIC)),
        await refusal(facilitator, replace(one, signature=b"\xff" * 96 + undeployed.MAGIC)),
        await refusal(facilitator, replace(one, amount=one.amount + 1)),
        await refusal(facilitator, replace(one, payer=street.shop.payer.address.lower())),
    ] == [bad] * 10
    assert not await street.is_deployed()


async def test_a_transfer_that_fails_takes_the_deployment_with_it(
    street: Street, facilitator: LocalFacilitator
) -> None:
    first, shop = street.sign(), street.shop
    await facilitator.check(first)
    payment_id = await shop.claim(first)
    # Its money goes elsewhere before we settle: another facilitator deploys it and takes all of it.
    other = replace(street.sign(), amount=PRICE)
    await shop.chain.transact(street.factory, street.deployment())
    for one in (other, street.sign()):
        await shop.chain.transact(
            shop.asset.address,
            token.transfer_with_authorization(undeployed.read(one, (street.factory,)).inner),
        )
    await facilitator.submit(payment_id, first, {})
    settlement = await facilitator.outcome(payment_id, 30)
    assert (settlement.outcome, settlement.failure) == ("failed", "insufficient_funds")


async def test_another_make_of_node_runs_the_same_program(anvil: Anvil, pool: Pool) -> None:
    street = await built(cast(Chain, anvil), pool)
    network = street.shop.network.model_copy(update={"wallet_factories": (street.factory,)})
    facilitator = LocalFacilitator(pool, network)
    authorization = street.sign()
    assert await facilitator.check(authorization) == 2 * PRICE
    stranger = await refusal(facilitator, street.sign(owner=Account.create()))
    wasteful = await refusal(facilitator, street.sign(deployment=street.deployment(b"waste")))
    assert (stranger, wasteful) == ("invalid_exact_evm_payload_signature",) * 2
    payment_id = await street.shop.claim(authorization)
    await facilitator.submit(payment_id, authorization, {})
    assert (await facilitator.outcome(payment_id, 30)).outcome == "settled"
    await facilitator.close()
    assert (await street.shop.paid(), await street.is_deployed()) == (PRICE, True)
