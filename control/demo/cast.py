"""Who is in the demonstration: the product as anybody starts it, a chain, a publisher and an agent."""

import asyncio
import json
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from aiohttp import ClientSession
from rich.console import Console

from config.settings import environment
from control.agent.client import Agent
from control.demo import token
from control.demo.chain import Chain
from control.demo.chain import running as chain_running
from control.demo.publisher import Upstream, selling

START_SECONDS_MAX = 90
STOP_SECONDS_MAX = 30
LOG_CHARACTERS = 4000
DOLLAR = 10**token.DECIMALS

out = Console(highlight=False, soft_wrap=True)


class StepFailed(Exception):
    """Something that the demonstration shows does not hold."""


@dataclass(frozen=True, slots=True)
class Product:
    """``farebox up``, running."""

    origin: str
    metrics: str


@dataclass(frozen=True, slots=True)
class Stage:
    """Everybody in the story."""

    origin: str
    chain: Chain
    token: str
    upstream: Upstream
    agent: Agent
    platform_wallet: str

    @property
    def shop(self) -> str:
        return f"{self.origin}/publishers/demo-weather"


@asynccontextmanager
async def set_up(port: int = 0) -> AsyncIterator[Stage]:
    """On a free port for 0, which is for stories that end by themselves."""
    async with AsyncExitStack() as stack:
        chain = await stack.enter_async_context(chain_running())
        _, signer, payer, platform = chain.accounts[:4]
        address = await chain.deploy_token()
        await chain.mint(address, payer.address, 10 * DOLLAR)
        tell(f"A chain ({chain.network}) with a test token; the agent's wallet has 10 {token.SYMBOL}.")
        upstream = await stack.enter_async_context(selling())
        network = {
            "id": chain.network,
            "rpc_url": chain.rpc_url,
            "facilitator_key": "0x" + bytes(signer.key).hex(),
            "pay_to": platform.address,
            "assets": [
                {
                    "address": address, "symbol": token.SYMBOL, "decimals": token.DECIMALS,
                    "name": token.NAME, "version": token.VERSION,
                }
            ],
        }  # fmt: skip
        directory = stack.enter_context(throw_away())
        running = await stack.enter_async_context(product(directory, network, port=port))
        origin = running.origin
        session = await stack.enter_async_context(ClientSession())
        tell(f"Farebox on an embedded PostgreSQL and Valkey, at {origin}.")
        agent = Agent(session, bytes(payer.key))
        yield Stage(origin, chain, address, upstream, agent, platform.address)


@asynccontextmanager
async def product(
    directory: str, network: Mapping[str, Any], *, workers: int = 1, port: int = 0
) -> AsyncIterator[Product]:
    """``farebox up`` in a process of its own, as anybody would start it: on a free port, or that one."""
    variables = {
        "FAREBOX_ALLOW_PRIVATE_UPSTREAMS": "true",
        "FAREBOX_NETWORKS": json.dumps([network]),
        "FAREBOX_METRICS__PORT": "0",
        "FAREBOX_PGPROXY__PORT": "0",
        "FAREBOX_LISTEN__WORKERS": str(workers),
        "FAREBOX_LOG_LEVEL": "warning",
        "FAREBOX_FEES__PLATFORM_BASIS_POINTS": "1000",
    }
    kept = {name: value for name, value in environment({}).items() if not name.startswith("FAREBOX_")}
    command = (sys.executable, "-m", "control.cli.app", "up", "--port", str(port), "--data-dir", directory)
    with logged(directory) as errors:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=PIPE, stderr=errors, env={**kept, **variables}
        )
        try:
            yield await asyncio.wait_for(ready(process), START_SECONDS_MAX)
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.wait(), STOP_SECONDS_MAX)


@contextmanager
def throw_away() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="farebox-demo-") as directory:
        # The database runs as a user of its own, which has to pass through.
        Path(directory).chmod(0o711)
        yield directory


@contextmanager
def logged(directory: str) -> Iterator[IO[bytes]]:
    """The product's log, whose end is shown with a step that fails."""
    log = Path(directory, "demo.log")
    with log.open("wb") as errors:
        try:
            yield errors
        except StepFailed as failure:
            failure.add_note(log.read_text()[-LOG_CHARACTERS:])
            raise


async def ready(process: Process) -> Product:
    assert process.stdout is not None
    said: dict[str, str] = {}
    async for line in process.stdout:
        name, _, value = line.decode().strip().partition(": ")
        said[name] = value
        if name == "farebox ready":
            return Product(value, said["metrics"])
    raise StepFailed("farebox up did not start")


def tell(text: str) -> None:
    out.print(f"  {text}")
