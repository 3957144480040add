"""The demonstration chain as its clients see it: web3, and requests by hand for what web3 hides."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.exceptions import ContractLogicError

from control.demo import token
from control.demo.chain import ETHER, Chain, running

STRANGER = to_checksum_address("0x" + "ab" * 20)


@pytest.fixture
async def chain() -> AsyncIterator[Chain]:
    async with running() as chain:
        yield chain


@pytest.fixture
async def web3(chain: Chain) -> AsyncIterator[AsyncWeb3[AsyncHTTPProvider]]:
    provider = AsyncHTTPProvider(chain.rpc_url)
    yield AsyncWeb3(provider)
    await provider.disconnect()


async def ask(chain: Chain, body: object) -> Any:
    async with aiohttp.ClientSession() as session, session.post(chain.rpc_url, json=body) as response:
        return await response.json()


def request(method: str, *params: object, id: int = 1) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def transfer(chain: Chain, sender: LocalAccount, nonce: int) -> str:
    """A signed transaction that sends one wei."""
    return "0x" + signed(
        sender,
        {
            "type": 2, "chainId": chain.chain_id, "nonce": nonce, "to": STRANGER, "value": 1, "gas": 21_000,
            "maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9,
        },
    ).hex()  # fmt: skip


def signed(sender: LocalAccount, transaction: Any) -> bytes:
    return bytes(sender.sign_transaction(transaction).raw_transaction)


async def test_web3_deploys_a_contract_and_reads_what_it_did(
    chain: Chain, web3: AsyncWeb3[AsyncHTTPProvider]
) -> None:
    """web3 fills in nonce, gas and fees by asking, and finds the event again in the logs."""
    owner = chain.accounts[3]
    deployment = (
        await web3.eth.contract(abi=token.ABI, bytecode=token.BYTECODE)
        .constructor()
        .build_transaction(
            {"from": owner.address, "nonce": await web3.eth.get_transaction_count(owner.address)}
        )
    )
    sent = await web3.eth.send_raw_transaction(signed(owner, deployment))
    receipt = await web3.eth.wait_for_transaction_receipt(sent, timeout=5, poll_latency=0.01)
    contract = web3.eth.contract(receipt["contractAddress"], abi=token.ABI)
    minting = await contract.functions.mint(STRANGER, 7).build_transaction(
        {"from": owner.address, "nonce": await web3.eth.get_transaction_count(owner.address, "pending")}
    )
    sent = await web3.eth.send_raw_transaction(signed(owner, minting))
    receipt = await web3.eth.wait_for_transaction_receipt(sent, timeout=5, poll_latency=0.01)
    assert receipt["status"] == 1
    assert await contract.functions.balanceOf(STRANGER).call() == 7
    events = await contract.events.Transfer().get_logs(from_block=0, argument_filters={"receiver": STRANGER})
    assert [(event["args"]["amount"], event["transactionHash"]) for event in events] == [(7, sent)]
    found = await web3.eth.get_transaction(sent)
    assert (found["from"], found["to"]) == (owner.address, receipt["to"])


async def test_a_revert_reaches_web3_with_its_reason(
    chain: Chain, web3: AsyncWeb3[AsyncHTTPProvider]
) -> None:
    contract = web3.eth.contract(to_checksum_address(await chain.deploy_token()), abi=token.ABI)
    with pytest.raises(ContractLogicError, match="amount exceeds the balance") as caught:
        await contract.functions.transfer(STRANGER, 1).call({"from": STRANGER})
    assert str(caught.value.data).startswith("0x08c379a0")
    with pytest.raises(ContractLogicError, match="amount exceeds the balance"):
        await contract.functions.transfer(STRANGER, 1).estimate_gas({"from": STRANGER})


async def test_a_reverted_transaction_has_a_receipt_without_logs(chain: Chain) -> None:
    contract = await chain.deploy_token()
    with pytest.raises(ValueError, match="reverted"):
        await chain.transact(contract, token.transfer(STRANGER, 1), sender=chain.accounts[1])
    receipt = (
        await ask(chain, request("eth_getTransactionReceipt", chain.node.blocks[-1]["transactions"][0]))
    )["result"]
    assert (receipt["status"], receipt["logs"]) == ("0x0", [])


async def test_transactions_wait_for_the_missing_nonce(chain: Chain) -> None:
    sender = chain.accounts[1]
    sent = [await ask(chain, request("eth_sendRawTransaction", transfer(chain, sender, n))) for n in (2, 1)]
    counts = [request("eth_getTransactionCount", sender.address, block) for block in ("latest", "pending")]
    receipts = [request("eth_getTransactionReceipt", one["result"]) for one in sent]
    assert [one["result"] for one in await ask(chain, counts)] == ["0x0", "0x0"]
    assert [one["result"] for one in await ask(chain, receipts)] == [None, None]
    await ask(chain, request("eth_sendRawTransaction", transfer(chain, sender, 0)))
    assert [one["result"] for one in await ask(chain, counts)] == ["0x3", "0x3"]
    assert [one["result"]["blockNumber"] for one in await ask(chain, receipts)] == ["0x3", "0x2"]
    assert (await ask(chain, request("eth_getBalance", STRANGER, "0x2")))["result"] == "0x2"


@pytest.mark.parametrize(
    "nonces",
    [
        (0, 0),     # mined
        (0, 1, 0),  # mined a while ago
        (5, 5),     # waiting for its turn
    ],
)  # fmt: skip
async def test_a_transaction_is_taken_once(chain: Chain, nonces: tuple[int, ...]) -> None:
    sent = [transfer(chain, chain.accounts[1], nonce) for nonce in nonces]
    answers = [await ask(chain, request("eth_sendRawTransaction", raw)) for raw in sent]
    assert "result" in answers[0]
    assert answers[-1]["error"]["message"] == "already known"


async def test_a_spent_nonce_and_an_empty_wallet_are_refused(chain: Chain) -> None:
    sender: LocalAccount = Account.create()
    poor = await ask(chain, request("eth_sendRawTransaction", transfer(chain, sender, 0)))
    assert poor["error"]["message"] == "insufficient funds for gas * price + value"
    await chain.fund(sender.address, ETHER)
    await chain.transact(STRANGER, b"", sender=sender)
    late = await ask(chain, request("eth_sendRawTransaction", transfer(chain, sender, 0)))
    assert late["error"]["message"] == "nonce too low"


async def test_a_batch_answers_each_request_by_its_id(chain: Chain) -> None:
    batch = [request("eth_chainId", id=7), request("eth_nonsense", id=8), request("eth_getCode", id=9), 5]
    answers = await ask(chain, batch)
    assert [one["id"] for one in answers] == [7, 8, 9, None]
    assert answers[0]["result"] == "0x7a69"
    assert [one["error"]["code"] for one in answers[1:]] == [-32601, -32602, -32600]


async def test_blocks_keep_to_the_clock_however_fast_they_come(chain: Chain) -> None:
    for nonce in range(30):
        await ask(chain, request("eth_sendRawTransaction", transfer(chain, chain.accounts[1], nonce)))
    block = (await ask(chain, request("eth_getBlockByNumber", "latest", True)))["result"]
    assert block["number"] == "0x1e"
    assert abs(int(block["timestamp"], 16) - time.time()) <= 2
    assert block["transactions"][0]["nonce"] == "0x1d"


async def test_mining_can_be_held_back(chain: Chain) -> None:
    await ask(chain, request("evm_setAutomine", False))
    sent = (await ask(chain, request("eth_sendRawTransaction", transfer(chain, chain.accounts[1], 0))))[
        "result"
    ]
    both = [request("eth_getTransactionReceipt", sent), request("eth_getTransactionByHash", sent)]
    receipt, transaction = [one["result"] for one in await ask(chain, both)]
    assert receipt is None
    assert transaction["blockNumber"] is None
    await ask(chain, request("evm_mine"))
    receipt, transaction = [one["result"] for one in await ask(chain, both)]
    assert receipt["status"] == "0x1"
    assert transaction["blockNumber"] == receipt["blockNumber"]


async def test_the_event_loop_goes_on_while_the_evm_works(chain: Chain) -> None:
    wakes = 0

    async def watch() -> None:
        nonlocal wakes
        while True:
            await asyncio.sleep(0)
            wakes += 1

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch())
        await chain.deploy_token()
        watching.cancel()
    # The answer itself takes a few turns of the loop; executing the transaction lasts for many more.
    assert wakes > 20


async def test_a_refusing_chain_answers_503(chain: Chain) -> None:
    chain.is_refusing = True
    async with aiohttp.ClientSession() as session, session.post(chain.rpc_url, json={}) as response:
        assert response.status == 503
