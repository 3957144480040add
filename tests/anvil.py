"""Programs from npm that a whole story needs: the anvil chain, and the official x402 client in TypeScript."""

import asyncio
import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from config.networks import MULTICALL3
from control.demo import token

TYPESCRIPT = Path(__file__).parent / "paths" / "ts"
MODULES = TYPESCRIPT / "node_modules"

CHAIN_ID = 31337
START_SECONDS = 20
PAY_SECONDS = 60


class Missing(Exception):
    """Why this machine cannot run them."""


def install(directory: Path = TYPESCRIPT) -> None:
    """Install what its ``package.json`` pins, unless it is there: ten seconds, and a package registry."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise Missing("node and npm are not installed")
    wanted = (directory / "package.json").read_text()
    installed = directory / "node_modules" / "installed.json"
    if installed.is_file() and installed.read_text() == wanted:
        return
    # Nothing that is installed may run a script of its own: everything here comes ready to use.
    flags = ["--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund"]
    run = subprocess.run([npm, "install", *flags], cwd=directory, capture_output=True, text=True, timeout=100)
    if run.returncode != 0:
        raise Missing(f"npm install failed: {run.stderr[-500:]}")
    installed.write_text(wanted)


def program() -> Path:
    [found, *_] = [*MODULES.glob("@foundry-rs/anvil-*/bin/anvil*"), None]
    if found is None:
        raise Missing(f"there is no anvil for {sys.platform}")
    return found


def multicall3() -> str:
    """The code that creates the published contract, as the pinned viem has it."""
    published = (MODULES / "viem/_cjs/constants/contracts.js").read_text()
    found = re.search(r"multicall3Bytecode = '(0x[0-9a-f]+)'", published)
    assert found is not None, "viem names it"
    return found[1]


async def install_or_skip() -> None:
    try:
        await asyncio.to_thread(install)
    except Missing as reason:
        pytest.skip(str(reason))


class Anvil:
    """A chain with the demonstration chain's manners: the same names for the same things."""

    def __init__(self, rpc_url: str, chain_id: int, session: aiohttp.ClientSession) -> None:
        self.rpc_url = rpc_url
        self.chain_id = chain_id
        self.network = f"eip155:{chain_id}"
        self.session = session

    async def deploy_token(self) -> str:
        return str((await self.transact(None, token.BYTECODE))["contractAddress"])

    async def deploy_multicall(self) -> None:
        """Multicall3 where every chain has it: its runtime code is what its creation returns."""
        runtime = await self.ask("eth_call", {"data": multicall3()}, "latest")
        await self.ask("anvil_setCode", MULTICALL3, runtime)

    async def mint(self, token_address: str, receiver: str, amount: int) -> None:
        await self.transact(token_address, token.mint(receiver, amount))

    async def balance(self, token_address: str, owner: str) -> int:
        request = {"to": token_address, "data": "0x" + token.balance_of(owner).hex()}
        return int(await self.ask("eth_call", request, "latest"), 16)

    async def fund(self, receiver: str, wei: int = 100 * 10**18) -> None:
        await self.transact(receiver, b"", value=wei)

    async def transact(self, to: str | None, data: bytes, *, value: int = 0) -> dict[str, Any]:
        """Send a transaction from the first of its own accounts, which it signs for."""
        [sender, *_] = await self.ask("eth_accounts")
        fields = {"from": sender, "data": "0x" + data.hex(), "value": hex(value)}
        sent = await self.ask("eth_sendTransaction", {**fields, "to": to} if to else fields)
        # It answers before it mines.
        for _ in range(1000):
            receipt = await self.ask("eth_getTransactionReceipt", sent)
            if receipt is not None:
                assert receipt["status"] == "0x1", receipt
                return dict(receipt)
            await asyncio.sleep(0.01)
        raise TimeoutError(f"{sent} is not mined")

    async def ask(self, method: str, *params: object) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with self.session.post(self.rpc_url, json=request) as response:
            answer = await response.json()
        assert "error" not in answer, answer
        return answer["result"]


@asynccontextmanager
async def running(chain_id: int = CHAIN_ID) -> AsyncIterator[Anvil]:
    """Skips the test where it cannot be had."""
    await install_or_skip()
    try:
        anvil = program()
    except Missing as reason:
        pytest.skip(str(reason))
    port = free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--chain-id", str(chain_id), "--silent"]
    process = await asyncio.create_subprocess_exec(anvil, *options, stdout=asyncio.subprocess.DEVNULL)
    try:
        async with aiohttp.ClientSession() as session:
            chain = Anvil(f"http://127.0.0.1:{port}", chain_id, session)
            await answers(chain, process)
            yield chain
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def answers(chain: Anvil, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(START_SECONDS):
        while process.returncode is None:
            try:
                await chain.ask("eth_chainId")
                return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
    raise RuntimeError(f"anvil ended with status {process.returncode}")


async def pay_with_typescript(url: str, key: str | bytes) -> dict[str, Any]:
    """GET a URL with the official client, which pays; return its status, body and paymentResponse.

    Skips the test where node, npm or the packages cannot be had.
    """
    await install_or_skip()
    text = key if isinstance(key, str) else "0x" + bytes(key).hex()
    process = await asyncio.create_subprocess_exec(
        "node", TYPESCRIPT / "pay.mjs", stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PAY_SECONDS):
            shown, complaint = await process.communicate(json.dumps({"url": url, "key": text}).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, complaint.decode()
    return dict(json.loads(shown))
