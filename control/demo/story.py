"""``farebox demo``: the whole product, a real EVM and a small publisher on loopback, and an agent that pays.

Each step checks what it shows. The first that does not hold ends the story, and the command with it.
"""

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
from control.agent.client import Agent, Reply
from control.demo import token
from control.demo.chain import Chain
from control.demo.chain import running as chain_running
from control.demo.publisher import CREDENTIAL, Upstream, selling
from gateway.kit.money import to_text

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


async def run(*, stay: bool) -> bool:
    """Tell the story; True if every step held. With ``stay``, go on serving until interrupted."""
    out.print("[bold]Farebox demo[/bold]: everything runs on this machine and is gone afterwards.\n")
    try:
        async with AsyncExitStack() as stack:
            stage = await stack.enter_async_context(set_up())
            await publish(stage)
            await pay_on_chain(stage)
            key = await sign_up_and_deposit(stage)
            await pay_from_balance(stage, key)
            await fail_for_free(stage, key)
            await read_the_wallet(stage, key)
            out.print("\n[bold green]Every step held.[/bold green]")
            if stay:
                out.print(f"Serving at {stage.origin} (docs: {stage.origin}/docs). Ctrl-C ends it.")
                out.print(f"The agent's key: {key}")
                await asyncio.Event().wait()
    except StepFailed as failure:
        out.print(f"  [bold red]This did not hold:[/bold red] {failure}")
        for note in getattr(failure, "__notes__", ()):
            out.print(note, markup=False)
        return False
    return True


@asynccontextmanager
async def set_up() -> AsyncIterator[Stage]:
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
        running = await stack.enter_async_context(product(directory, network))
        origin = running.origin
        session = await stack.enter_async_context(ClientSession())
        tell(f"Farebox on an embedded PostgreSQL and Valkey, at {origin}.")
        agent = Agent(session, bytes(payer.key))
        yield Stage(origin, chain, address, upstream, agent, platform.address)


@asynccontextmanager
async def product(directory: str, network: Mapping[str, Any], *, workers: int = 1) -> AsyncIterator[Product]:
    """``farebox up`` in a process of its own, as anybody would start it, on free ports."""
    variables = {
        "FAREBOX_ALLOW_PRIVATE_UPSTREAMS": "true",
        "FAREBOX_NETWORKS": json.dumps([network]),
        "FAREBOX_METRICS__PORT": "0",
        "FAREBOX_LISTEN__WORKERS": str(workers),
        "FAREBOX_LOG_LEVEL": "warning",
        "FAREBOX_FEES__PLATFORM_BASIS_POINTS": "1000",
    }
    kept = {name: value for name, value in environment({}).items() if not name.startswith("FAREBOX_")}
    command = (sys.executable, "-m", "control.cli.app", "up", "--port", "0", "--data-dir", directory)
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


async def publish(stage: Stage) -> None:
    signed_up = await stage.agent.ask("POST", f"{stage.origin}/auth/agent", body={"name": "Publisher"})
    expect(signed_up, 201)
    account = signed_up.json["data"]["agent"]
    listing = {
        "name": "Demo weather",
        "slug": "demo-weather",
        "publisher_category": "integration",
        "api_url": stage.upstream.url,
        "wallet_address": stage.chain.accounts[4].address,
        "wallet_network_id": stage.chain.network,
        "api_key_header": "X-Upstream-Key",
        "upstream_api_key": CREDENTIAL,
        "price_per_get": "0.25",
    }
    url = f"{stage.origin}/organizations/{account['organization_id']}/publishers"
    expect(await stage.agent.ask("POST", url, headers=bearer(account["api_key"]), body=listing), 201)
    tell("A publisher put an API behind it: 0.25 for each GET.")


async def pay_on_chain(stage: Stage) -> None:
    url = f"{stage.shop}/weather/oslo"
    # A new price is on every process within a second.
    refused = await until_published(stage, url)
    offer = refused.offers[0]
    price = f"{money(int(offer['amount']))} on {offer['network']}"
    tell(f"An agent asks without paying: [bold]402[/bold], {price}.")
    paid = await stage.agent.pay("GET", url, refused)
    expect(paid, 200)
    received = await stage.chain.balance(stage.token, stage.platform_wallet)
    check(received == DOLLAR // 4, f"the platform's wallet has {money(received)}")
    check(stage.upstream.hits == ["/weather/oslo"], f"the upstream was asked {stage.upstream.hits}")
    transaction = paid.payment["transaction"]
    tell(f"It signs a payment and asks again: [bold]200[/bold] {paid.text}")
    tell(f"  settled on chain by {transaction[:18]}…, and the answer was released after that.")


async def until_published(stage: Stage, url: str) -> Reply:
    for _ in range(40):
        reply = await stage.agent.ask("GET", url)
        if reply.status != 404:
            expect(reply, 402)
            return reply
        await asyncio.sleep(0.05)
    raise StepFailed("the publisher was not on sale after two seconds")


async def sign_up_and_deposit(stage: Stage) -> str:
    signed_up = await stage.agent.ask("POST", f"{stage.origin}/auth/agent", body={"name": "Agent"})
    expect(signed_up, 201)
    key: str = signed_up.json["data"]["agent"]["api_key"]
    url, body = f"{stage.origin}/wallet/deposit/crypto", {"amount": "1"}
    refused = await stage.agent.ask("POST", url, headers=bearer(key), body=body)
    expect(refused, 402)
    expect(await stage.agent.pay("POST", url, refused, headers=bearer(key), body=body), 200)
    tell("The agent signs up for a key and deposits 1.00 on chain.")
    return key


async def pay_from_balance(stage: Stage, key: str) -> None:
    paid = await stage.agent.ask("GET", f"{stage.shop}/weather/rome", headers=bearer(key))
    expect(paid, 200)
    left = await balance(stage, key)
    check(left == DOLLAR * 3 // 4, f"the balance is {money(left)}")
    tell(f"A call with the key is paid from the balance: [bold]200[/bold], {money(left)} left.")


async def fail_for_free(stage: Stage, key: str) -> None:
    before = await balance(stage, key)
    failed = await stage.agent.ask("GET", f"{stage.shop}/broken", headers=bearer(key))
    expect(failed, 500)
    after = await balance(stage, key)
    check(after == before, f"a failed call cost {money(before - after)}")
    tell(f"A call whose upstream fails: [bold]500[/bold], and it cost nothing: {money(after)} left.")


async def read_the_wallet(stage: Stage, key: str) -> None:
    url = f"{stage.origin}/wallet/transactions?include_usage=true"
    reply = await stage.agent.ask("GET", url, headers=bearer(key))
    expect(reply, 200)
    tell("Its wallet:")
    total = 0
    for line in reply.json["data"]["transactions"]:
        sign = 1 if line["direction"] == "credit" else -1
        total += sign * line["amount_atomic"]
        out.print(f"      {'+' if sign > 0 else '-'}{money(line['amount_atomic'])}  {line['description']}")
    left = await balance(stage, key)
    check(total == left, f"the lines add up to {money(total)}, the balance is {money(left)}")
    tell(f"  the lines add up to the balance: {money(left)}.")


async def balance(stage: Stage, key: str) -> int:
    reply = await stage.agent.ask("GET", f"{stage.origin}/wallet/balance", headers=bearer(key))
    expect(reply, 200)
    return int(reply.json["data"]["balance_atomic"])


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def money(atomic: int) -> str:
    return f"{to_text(atomic, token.DECIMALS)} {token.SYMBOL}"


def expect(reply: Reply, status: int) -> None:
    check(reply.status == status, f"the answer is {reply.status}, not {status}: {reply.text[:500]}")


def check(is_so: bool, otherwise: str) -> None:  # noqa: FBT001
    if not is_so:
        raise StepFailed(otherwise)


def tell(text: str) -> None:
    out.print(f"  {text}")
