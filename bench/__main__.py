"""``python -m bench``: how fast is Farebox, beside what else one could put there, in one run.

The targets take turns of a second, forwards and backwards, so that whatever else the machine does falls on
all of them. What counts are the ratios; absolute numbers are this machine's, today.
"""

import argparse
import asyncio
import itertools
import shutil
import socket
import statistics
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import uvloop
from eth_account import Account
from pydantic import SecretStr

from bench import chain, farebox, servers
from bench.load import Measured, load, request
from config.settings import Network
from control.agent.client import encode
from control.demo import token
from control.demo.cast import throw_away
from tests import anvil

SIGNER = "0x" + "51" * 32
PAY_TO = "0x" + "b1" * 20
PAYMENTS_PER_SECOND = 3000
REMOTE_CHAIN_ID = 421614
BASE = "plain aiohttp proxy"
NGINX = """
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {directory}; proxy_temp_path {directory};
  fastcgi_temp_path {directory}; uwsgi_temp_path {directory}; scgi_temp_path {directory};
  keepalive_requests 1000000000;
  upstream target {{ server 127.0.0.1:{target}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://target; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


@dataclass(slots=True)
class Target:
    name: str
    port: int
    requests: Iterator[bytes]
    status: bytes = b"200"
    turns: list[Measured] = field(default_factory=list)

    @property
    def unexpected(self) -> int:
        """Answers of another status, and none at all."""
        wrong = sum(sum(one.statuses.values()) - one.statuses.get(self.status, 0) for one in self.turns)
        return wrong + sum(one.broken for one in self.turns)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="turns for each target")
    parser.add_argument("--seconds", type=float, default=1, help="of each turn")
    parser.add_argument("--connections", type=int, default=16, help="at once")
    parser.add_argument("--only", nargs="+", default=[], help="targets with one of these in their names")
    asked = parser.parse_args()
    try:
        uvloop.run(bench(asked.rounds, asked.seconds, asked.connections, asked.only))
    except farebox.Failed as error:
        sys.exit(f"bench: {error}")


async def bench(rounds: int, seconds: float, connections: int, only: Sequence[str]) -> None:
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(throw_away()))
        payments = int(rounds * seconds * PAYMENTS_PER_SECOND)
        prepared = await prepare(stack, directory, payments)
        targets = [one for one in prepared if is_asked(one, only)]
        for target in targets:
            await load(target.port, target.requests, connections=connections, seconds=0.2)
        for number in range(rounds):
            for target in targets if number % 2 == 0 else reversed(targets):
                turn = await load(target.port, target.requests, connections=connections, seconds=seconds)
                target.turns.append(turn)
    show(targets, rounds, seconds, connections)


def is_asked(target: Target, only: Sequence[str]) -> bool:
    return not only or target.name == BASE or any(word in target.name for word in only)


async def prepare(stack: AsyncExitStack, directory: Path, payments: int) -> list[Target]:
    upstream = await stack.enter_async_context(server("upstream"))
    target = f"http://127.0.0.1:{upstream}"
    get = request("GET", "/x")
    targets = [Target("upstream, direct", upstream, itertools.repeat(get))]
    if shutil.which("nginx"):
        port = await stack.enter_async_context(nginx(directory, upstream))
        targets.append(Target("nginx", port, itertools.repeat(get)))
    else:
        note("nginx is not installed and not measured")
    port = await stack.enter_async_context(server("plain", target))
    targets.append(Target(BASE, port, itertools.repeat(get)))
    networks = [await stack.enter_async_context(stub_network())]
    networks.append(await stack.enter_async_context(remote_network()))
    if on_anvil := await anvil_network(stack):
        networks.append(on_anvil)
    targets += await peers(stack, target)
    origin = await stack.enter_async_context(farebox.running(directory / "data", networks))
    shop = await farebox.furnish(origin, target, networks, payments)
    targets += [
        Target("Farebox, free", shop.port, itertools.repeat(shop.free)),
        Target("Farebox, unpaid 402", shop.port, itertools.repeat(shop.unpaid), b"402"),
        Target("Farebox, prepaid", shop.port, itertools.repeat(shop.prepaid)),
    ]
    names = "x402 on stub chain", "x402 by remote facilitator", "x402 on anvil"
    for name, network in zip(names, networks, strict=False):
        targets.append(Target(f"Farebox, {name}", shop.port, iter(shop.payments[network.id])))
    return targets


async def peers(stack: AsyncExitStack, target: str) -> list[Target]:
    if not all(find_spec(name) for name in ("fastapi", "uvicorn", "httpx", "x402")):
        note("the x402 middleware is not measured: pip install 'x402[fastapi]' uvicorn httptools httpx")
        return []
    facilitator = await stack.enter_async_context(server("facilitator", servers.NETWORK))
    port = await stack.enter_async_context(server("peer", target, f"http://127.0.0.1:{facilitator}"))
    terms = {
        "scheme": "exact", "network": servers.NETWORK, "asset": servers.ASSET, "amount": "1000",
        "payTo": servers.PAY_TO, "maxTimeoutSeconds": 300, "extra": {"name": "Bench Dollar", "version": "1"},
    }  # fmt: skip
    # The stub facilitator looks at nothing, so one payment is good for all.
    authorization = {
        "from": "0x" + "c1" * 20, "to": servers.PAY_TO, "value": "1000", "validAfter": "0",
        "validBefore": "99999999999", "nonce": "0x" + "e" * 64,
    }  # fmt: skip
    payload = {"signature": "0x" + "f" * 130, "authorization": authorization}
    payment = encode({"x402Version": 2, "accepted": terms, "payload": payload})
    paid = request("GET", "/paid/x", [("PAYMENT-SIGNATURE", payment)])
    return [
        Target("x402 FastAPI, free", port, itertools.repeat(request("GET", "/x"))),
        Target("x402 FastAPI, unpaid 402", port, itertools.repeat(request("GET", "/paid/x")), b"402"),
        Target("x402 FastAPI, paid", port, itertools.repeat(paid)),
    ]


@asynccontextmanager
async def stub_network() -> AsyncIterator[Network]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    network = Network(
        id=f"eip155:{chain.CHAIN_ID}", rpc_url=f"http://127.0.0.1:{port}", pay_to=PAY_TO,
        facilitator_key=SecretStr(SIGNER), assets=(chain.TOKEN,),
    )  # fmt: skip
    async with server("chain", chain.domain_of(network), port=port):
        yield network


@asynccontextmanager
async def remote_network() -> AsyncIterator[Network]:
    """Paid for as the public middlewares do it: somebody else verifies before the call and settles after."""
    network = f"eip155:{REMOTE_CHAIN_ID}"
    async with server("facilitator", network) as port:
        yield Network(
            id=network,
            facilitator_url=f"http://127.0.0.1:{port}",
            pay_to=PAY_TO,
            assets=(chain.TOKEN,),
            mode="test",
        )


async def anvil_network(stack: AsyncExitStack) -> Network | None:
    try:
        await asyncio.to_thread(anvil.install)
        anvil.program()
    except anvil.Missing as reason:
        note(f"anvil is not measured: {reason}")
        return None
    node = await stack.enter_async_context(anvil.running())
    await node.deploy_multicall()
    address = await node.deploy_token()
    await node.mint(address, Account.from_key(farebox.PAYER).address, 10**15)
    await node.fund(Account.from_key(SIGNER).address)
    asset = {
        "address": address, "symbol": token.SYMBOL, "decimals": token.DECIMALS, "name": token.NAME,
        "version": token.VERSION,
    }  # fmt: skip
    return Network.model_validate(
        {
            "id": node.network, "rpc_url": node.rpc_url, "facilitator_key": SIGNER, "pay_to": PAY_TO,
            "assets": [asset],
        }
    )  # fmt: skip


@asynccontextmanager
async def server(name: str, *more: str, port: int = 0) -> AsyncIterator[int]:
    port = port or anvil.free_port()
    async with process(sys.executable, "-m", "bench.servers", name, str(port), *more, port=port):
        yield port


@asynccontextmanager
async def nginx(directory: Path, target: int) -> AsyncIterator[int]:
    port = anvil.free_port()
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(directory=directory, port=port, target=target))
    async with process("nginx", "-c", str(config), "-p", str(directory), port=port):
        yield port


@asynccontextmanager
async def process(*command: str, port: int) -> AsyncIterator[None]:
    """Run it while the block runs; entered when it takes connections."""
    running = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL)
    try:
        for _ in range(300):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                if running.returncode is not None:
                    break
                await asyncio.sleep(0.05)
            else:
                writer.close()
                yield
                return
        raise farebox.Failed(f"{' '.join(command[:4])} did not start")
    finally:
        if running.returncode is None:
            running.terminate()
        await running.wait()


def show(targets: Sequence[Target], rounds: int, seconds: float, connections: int) -> None:
    base = next(one for one in targets if one.name == BASE)
    print(f"\n{rounds} turns of {seconds:g} s each, {connections} connections; as multiples of the {BASE}:\n")
    print("| target | throughput | p50 | p99 | calls/s here | unexpected answers |")
    print("|---|---:|---:|---:|---:|---:|")
    for one in targets:
        middle, slow = (ratio(one, base, partial(Measured.quantile, share=share)) for share in (0.5, 0.99))
        speed = ratio(one, base, speed_of)
        here = statistics.median(turn.per_second for turn in one.turns)
        print(f"| {one.name} | {speed} | {middle} | {slow} | {here:.0f} | {one.unexpected} |")


def speed_of(turn: Measured) -> float:
    return turn.per_second


def ratio(one: Target, base: Target, number: Callable[[Measured], float]) -> str:
    """The median over turns, each against the base's turn of the same round."""
    pairs = [
        number(mine) / number(theirs)
        for mine, theirs in zip(one.turns, base.turns, strict=True)
        if mine.latencies and theirs.latencies
    ]
    return f"{statistics.median(pairs):.2f}" if pairs else "-"


def note(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr)


if __name__ == "__main__":
    main()
