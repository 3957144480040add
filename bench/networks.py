"""The chains, and the facilitator, that payments to Farebox are settled on."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from eth_account import Account
from pydantic import SecretStr

from bench import chain
from bench.started import Failed, server
from config.settings import Network
from control.demo import token
from tests import anvil

SIGNER = "0x" + "51" * 32
PAYER = bytes.fromhex("c0ffee" * 10 + "c0ff")
PAY_TO = "0x" + "b1" * 20
REMOTE_CHAIN_ID = 421614
ANVIL_CHAIN_ID = 31337


@asynccontextmanager
async def stub() -> AsyncIterator[Network]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    network = Network(
        id=f"eip155:{chain.CHAIN_ID}", rpc_url=f"http://127.0.0.1:{port}", pay_to=PAY_TO,
        facilitator_key=SecretStr(SIGNER), assets=(chain.TOKEN,),
    )  # fmt: skip
    async with server("chain", chain.domain_of(network), port=port):
        yield network


@asynccontextmanager
async def remote() -> AsyncIterator[Network]:
    """Paid for as the public middlewares do it: somebody else verifies before the call and settles after."""
    network = f"eip155:{REMOTE_CHAIN_ID}"
    async with server("facilitator", network) as (port, _):
        yield Network(
            id=network,
            facilitator_url=f"http://127.0.0.1:{port}",
            pay_to=PAY_TO,
            assets=(chain.TOKEN,),
            mode="test",
        )


@asynccontextmanager
async def on_anvil(*, is_shared: bool) -> AsyncIterator[Network]:
    """A real EVM, where payments share transactions, or each has its own."""
    try:
        await asyncio.to_thread(anvil.install)
        anvil.program()
    except anvil.Missing as reason:
        raise Failed(str(reason)) from reason
    async with anvil.running(ANVIL_CHAIN_ID + (not is_shared)) as node:
        if is_shared:
            await node.deploy_multicall()
        address = await node.deploy_token()
        await node.mint(address, Account.from_key(PAYER).address, 10**15)
        await node.fund(Account.from_key(SIGNER).address)
        asset = {
            "address": address, "symbol": token.SYMBOL, "decimals": token.DECIMALS, "name": token.NAME,
            "version": token.VERSION,
        }  # fmt: skip
        network = {
            "id": node.network, "mode": "test", "rpc_url": node.rpc_url, "facilitator_key": SIGNER,
            "pay_to": PAY_TO, "assets": [asset],
        }  # fmt: skip
        yield Network.model_validate(network if is_shared else {**network, "multicall_address": ""})
