"""Farebox as anybody would start it, with something on sale and callers that can pay."""

import asyncio
import json
import secrets
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from coincurve import PrivateKey
from eth_account import Account

from bench import cores, networks
from bench.chain import asset_of
from bench.load import request
from bench.started import Bench, Failed, Service, always, left_out
from config.settings import Network, environment
from control.agent.client import Agent, Reply, decode, encode
from gateway.x402 import exact
from gateway.x402.facilitator import Authorization

START_SECONDS = 90
PRICE = "0.001"
WORKER = "farebox: worker"
ON_ANVIL = {"x402 on anvil": True, "x402 on anvil, each alone": False}
"""And whether their payments share transactions."""


@asynccontextmanager
async def services(bench: Bench, wanted: Collection[str]) -> AsyncIterator[list[Service]]:
    async with AsyncExitStack() as stack:
        chains = {
            "x402 on stub chain": await stack.enter_async_context(networks.stub()),
            "x402 by remote facilitator": await stack.enter_async_context(networks.remote()),
        }
        for name, is_shared in ON_ANVIL.items():
            if f"Farebox, {name}" in wanted:
                with left_out(f"Farebox, {name}"):
                    chains[name] = await stack.enter_async_context(networks.on_anvil(is_shared=is_shared))
        origin, process = await stack.enter_async_context(
            running(bench.directory / "data", [*chains.values()])
        )
        if bench.core is not None:
            cores.move([one for one, title in cores.family(process).items() if WORKER in title], bench.core)
        yield await furnish(origin, process, bench.upstream_url, chains)


@asynccontextmanager
async def running(directory: Path, networks: Sequence[Network]) -> AsyncIterator[tuple[str, int]]:
    """Yield its origin and its process.

    One process serves, and its log has a line for each call, as it has by default.
    """
    plain = [secret_and_all(network) for network in networks]
    variables = {
        "FAREBOX_ALLOW_PRIVATE_UPSTREAMS": "true",
        "FAREBOX_NETWORKS": json.dumps(plain),
        "FAREBOX_METRICS__PORT": "0",
        "FAREBOX_LIMITS__KEY_CALLS_PER_SECOND": "1000000",
        "FAREBOX_LIMITS__KEY_BURST": "1000000",
        "FAREBOX_LIMITS__ADDRESS_CALLS_PER_SECOND": "1000000",
        "FAREBOX_LIMITS__ADDRESS_BURST": "1000000",
    }
    kept = {name: value for name, value in environment({}).items() if not name.startswith("FAREBOX_")}
    command = (sys.executable, "-m", "control.cli.app", "up", "--port", "0", "--data-dir", str(directory))
    with (directory.parent / "farebox.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=PIPE, stderr=log, env={**kept, **variables}
        )
        try:
            yield await asyncio.wait_for(ready(process), START_SECONDS), process.pid
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def secret_and_all(network: Network) -> dict[str, Any]:
    values: dict[str, Any] = network.model_dump(mode="json", exclude_defaults=True)
    key = network.facilitator_key
    return values if key is None else {**values, "facilitator_key": key.get_secret_value()}


async def ready(process: Process) -> str:
    assert process.stdout is not None
    async for line in process.stdout:
        if line.startswith(b"farebox ready: "):
            return line.decode().split()[-1]
    raise Failed("farebox up did not start")


async def furnish(origin: str, process: int, target: str, chains: Mapping[str, Network]) -> list[Service]:
    """Publish, and fund a caller by a deposit on the first network."""
    first = next(iter(chains.values()))
    requests: dict[str, Callable[[int], Iterator[bytes]]] = {}
    async with ClientSession() as session:
        agent = Agent(session, networks.PAYER)
        seller, buyer = [await sign_up(agent, origin) for _ in range(2)]
        await publish(agent, origin, seller, "free", target, first, "0")
        for number, (name, network) in enumerate(chains.items()):
            path = f"/publishers/paid-{number}/x"
            await publish(agent, origin, seller, f"paid-{number}", target, network, PRICE)
            challenge = await until_served(agent, f"{origin}{path}")
            requests[name] = partial(sign, challenge, path, network)
        await deposit(agent, origin, buyer, first)
        await until_served(agent, f"{origin}/publishers/free/x", 200)
    requests["free"] = always(request("GET", "/publishers/free/x"))
    requests["free, 1 MiB"] = always(request("GET", "/publishers/free/big"))
    requests["unpaid 402"] = always(request("GET", "/publishers/paid-0/x"))
    authorization = [("Authorization", f"Bearer {buyer}")]
    requests["prepaid"] = always(request("GET", "/publishers/paid-0/x", authorization))
    port = int(origin.rpartition(":")[2])
    return [
        Service(f"Farebox, {name}", port, asked, process, WORKER, b"402" if name == "unpaid 402" else b"200")
        for name, asked in requests.items()
    ]


async def sign_up(agent: Agent, origin: str) -> str:
    reply = good(await agent.ask("POST", f"{origin}/auth/agent", body={}), 201)
    return str(reply.json["data"]["agent"]["api_key"])


async def publish(
    agent: Agent, origin: str, key: str, slug: str, target: str, network: Network, price: str
) -> None:
    body = {
        "name": slug, "slug": slug, "publisher_category": "integration", "api_url": target,
        "wallet_address": "0x" + "b0" * 20, "wallet_network_id": network.id, "price_per_call": price,
    }  # fmt: skip
    url = f"{origin}/organizations/default/publishers"
    good(await agent.ask("POST", url, headers={"Authorization": f"Bearer {key}"}, body=body), 201)


async def deposit(agent: Agent, origin: str, key: str, network: Network) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    body = {"amount": "1000000", "asset_id": str(asset_of(network).id)}
    url = f"{origin}/wallet/deposit/crypto"
    asked = good(await agent.ask("POST", url, headers=headers, body=body), 402)
    good(await agent.pay("POST", url, asked, headers=headers, body=body), 200)


async def until_served(agent: Agent, url: str, status: int = 402) -> Reply:
    """What was published is known to the gateway within a second."""
    for _ in range(100):
        if (await agent.ask("GET", url)).status == status:
            break
        await asyncio.sleep(0.1)
    return good(await agent.ask("GET", url), status)


def good(reply: Reply, status: int) -> Reply:
    if reply.status != status:
        raise Failed(f"the answer is {reply.status} instead of {status}: {reply.text[:500]}")
    return reply


def sign(challenge: Reply, path: str, network: Network, count: int) -> Iterator[bytes]:
    """Before they are needed, and not long before: payments are good for five minutes."""
    return iter([*signed(challenge, path, network, count)])


def signed(challenge: Reply, path: str, network: Network, count: int) -> Iterator[bytes]:
    """By hand: eth-account would take longer to sign than the gateway to serve."""
    key = PrivateKey(networks.PAYER)
    payer = Account.from_key(networks.PAYER).address.lower()
    required = decode(challenge.headers["PAYMENT-REQUIRED"])
    offer = required["accepts"][0]
    now = int(time.time())
    for _ in range(count):
        one = Authorization(
            asset_of(network), payer, offer["payTo"].lower(), int(offer["amount"]), now - 600, now + 290,
            secrets.token_bytes(32), b"",
        )  # fmt: skip
        signature = key.sign_recoverable(exact.digest(one), hasher=None)
        authorization = {
            "from": payer, "to": offer["payTo"], "value": offer["amount"], "validAfter": str(now - 600),
            "validBefore": str(now + 290), "nonce": "0x" + one.nonce.hex(),
        }  # fmt: skip
        text = "0x" + signature[:64].hex() + bytes([signature[64] + 27]).hex()
        payload = {"signature": text, "authorization": authorization}
        header = encode(
            {"x402Version": 2, "resource": required["resource"], "accepted": offer, "payload": payload}
        )
        yield request("GET", path, [("PAYMENT-SIGNATURE", header)])
