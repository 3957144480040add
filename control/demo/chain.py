"""A chain for tests and for ``farebox demo``: JSON-RPC over HTTP on loopback, gone when it is left.

    async with running() as chain:
        token = await chain.deploy_token()
        await chain.mint(token, payer.address, 10_000_000)

Its network is ``chain.network``, any web3 client finds it at ``chain.rpc_url``, and ``chain.accounts`` have
ether.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address

from control.demo import rpc, token
from control.demo.evm import Node
from control.demo.views import hexadecimal, octets

T = TypeVar("T")

CHAIN_ID = 31337
ACCOUNTS = 10
ETHER = 10**18
BODY_BYTES_MAX = 8 * 1024 * 1024


class Chain:
    """Made by ``running``."""

    def __init__(self, node: Node, accounts: tuple[LocalAccount, ...], thread: ThreadPoolExecutor) -> None:
        self.node = node
        self.accounts = accounts
        self.thread = thread
        self.rpc_url = ""
        self.is_refusing = False
        """While true, every request is answered 503: what a client sees of a node that is down."""

    @property
    def chain_id(self) -> int:
        return self.node.chain.chain_id

    @property
    def network(self) -> str:
        return f"eip155:{self.chain_id}"

    async def deploy_token(self) -> str:
        """Deploy another test token and return its address in lower case."""
        receipt = await self.transact(None, token.BYTECODE)
        return str(receipt["contractAddress"])

    async def mint(self, token_address: str, receiver: str, amount: int) -> None:
        await self.transact(token_address, token.mint(receiver, amount))

    async def balance(self, token_address: str, owner: str) -> int:
        request = {"to": token_address, "data": "0x" + token.balance_of(owner).hex()}
        return int.from_bytes(await self.run(self.node.call, request, "latest"))

    async def fund(self, receiver: str, wei: int = 100 * ETHER) -> None:
        """Give an account gas money."""
        await self.transact(receiver, b"", value=wei)

    async def transact(
        self, to: str | None, data: bytes, *, sender: LocalAccount | None = None, value: int = 0
    ) -> dict[str, Any]:
        """Send a transaction from the deployer or from another account, and return its receipt."""
        signer = sender or self.accounts[0]
        receipt = await self.run(self.send, signer, to, data, value)
        if receipt["status"] != "0x1":
            raise ValueError(f"the transaction {receipt['transactionHash']} was reverted")
        return receipt

    def send(self, signer: LocalAccount, to: str | None, data: bytes, value: int) -> dict[str, Any]:
        address = octets(signer.address)
        request: dict[str, Any] = {
            "type": 2,
            "chainId": self.chain_id,
            "nonce": self.node.nonce(address, "pending"),
            "to": to_checksum_address(to) if to else "",
            "data": data,
            "value": value,
            "gas": 3_000_000,
            "maxFeePerGas": 100 * rpc.TIP,
            "maxPriorityFeePerGas": rpc.TIP,
        }
        signed = signer.sign_transaction(request)
        self.node.send(bytes(signed.raw_transaction))
        self.node.mine_waiting()
        return self.node.receipts[hexadecimal(signed.hash)]

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Only the one thread touches the node, so requests are answered one after another."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, work, *arguments)

    async def answer(self, request: web.Request) -> web.Response:
        if self.is_refusing:
            return web.Response(status=503)
        body = await request.read()
        return web.Response(body=await self.run(respond, self.node, body), content_type="application/json")


def respond(node: Node, body: bytes) -> bytes:
    try:
        request = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"not JSON"}}'
    return msgspec.json.encode(rpc.answer(node, request))


@asynccontextmanager
async def running(*, port: int = 0, chain_id: int = CHAIN_ID) -> AsyncIterator[Chain]:
    """Port 0 takes a free one."""
    accounts = tuple(Account.create() for _ in range(ACCOUNTS))
    node = Node(chain_id, {octets(account.address): 1_000_000 * ETHER for account in accounts})
    with ThreadPoolExecutor(1, thread_name_prefix="demo-chain") as thread:
        chain = Chain(node, accounts, thread)
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_post("/", chain.answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
            chain.rpc_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield chain
        finally:
            await runner.cleanup()
