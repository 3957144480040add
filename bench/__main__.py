"""``python -m bench``: how fast is Farebox, beside what else one could put there, in one run.

The targets take turns of a second, forwards and backwards, so that whatever else the machine does falls on
all of them. What counts are the ratios; absolute numbers are this machine's, today.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import uvloop

from bench import cores, farebox, floors, others, report
from bench.load import Measured, load
from bench.others import PLAIN, UPSTREAM
from bench.report import Target
from bench.started import Bench, Failed, Service, left_out, server
from control.demo.cast import throw_away

PAUSE_SECONDS = 0.1
"""Between turns, so that what one leaves to be done is not on the next one's account."""
PEERS = "@x402/hono", "@x402/express", "x402 FastAPI"
GROUPS: dict[int, Sequence[str]] = {
    64: (
        UPSTREAM, "nginx", "traefik", "caddy", PLAIN, "Farebox, free",
        *(f"{peer}, unpaid 402" for peer in PEERS), "Farebox, unpaid 402", "Farebox, prepaid",
        "Farebox, x402 on stub chain", "Farebox, x402 on anvil", "Farebox, x402 on anvil, each alone",
    ),
    16: (
        PLAIN, "Farebox, prepaid", *(f"{peer}, paid" for peer in PEERS),
        "Farebox, x402 by remote facilitator", "nginx, 1 MiB", f"{PLAIN}, 1 MiB", "Farebox, free, 1 MiB",
    ),
    256: (
        "nginx", PLAIN, "Farebox, prepaid", "x402 FastAPI, paid", "Farebox, x402 by remote facilitator",
    ),
    1: (
        "nginx", PLAIN, "Farebox, free", "Farebox, unpaid 402", "Farebox, prepaid",
        "Farebox, x402 on stub chain",
    ),
}  # fmt: skip
"""How many connections ask what at once; in an order that has next to each other what is compared."""
OPENED: dict[str, Callable[[Bench], AbstractAsyncContextManager[list[Service]]]] = {
    UPSTREAM: others.upstream,
    "nginx": others.nginx,
    "traefik": others.traefik,
    "caddy": others.caddy,
    PLAIN: others.plain,
    "@x402/hono": others.node("hono"),
    "@x402/express": others.node("express"),
    "x402 FastAPI": others.fastapi,
}
"""Who has the targets whose names begin so; Farebox, which may be asked for its parts, is apart."""
FAREBOX = "Farebox"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="turns for each target")
    parser.add_argument("--seconds", type=float, default=1, help="of each turn")
    parser.add_argument("--quick", action="store_true", help="3 turns of 0.4 s")
    parser.add_argument("--only", nargs="+", default=[], help="targets with one of these in their names")
    parser.add_argument("--connections", nargs="+", type=int, default=[*GROUPS], help="of these numbers only")
    asked = parser.parse_args()
    rounds, seconds = (3, 0.4) if asked.quick else (asked.rounds, asked.seconds)
    wanted = [
        (name, connections)
        for connections, names in GROUPS.items()
        for name in names
        if connections in asked.connections and (not asked.only or any(word in name for word in asked.only))
    ]
    try:
        uvloop.run(bench(rounds, seconds, with_bases(wanted)))
    except Failed as error:
        sys.exit(f"bench: {error}")


def with_bases(wanted: Collection[tuple[str, int]]) -> list[tuple[str, int]]:
    """Everything is compared with the plain proxy at least, which is asked for the same by as many."""
    bases = {(report.base(name), connections) for name, connections in wanted}
    everything = ((name, connections) for connections, names in GROUPS.items() for name in names)
    return [one for one in everything if one in wanted or one in bases]


async def bench(rounds: int, seconds: float, wanted: Sequence[tuple[str, int]]) -> None:
    places = cores.split()
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(throw_away()))
        upstream, process = await stack.enter_async_context(server("upstream"))
        setting = Bench(directory, upstream, process, places.tested if places else None)
        services = await prepare(stack, setting, {name for name, _ in wanted})
        targets = [Target(services[name], connections) for name, connections in wanted if name in services]
        for target in targets:
            await turn(target, min(seconds, 0.3))
        for target in targets:
            target.turns.clear()
        for number in range(rounds):
            for target in targets if number % 2 == 0 else reversed(targets):
                await turn(target, seconds)
    where = (
        "unpinned"
        if places is None
        else f"what is measured on core {places.tested}, all else on core {places.rest}"
    )
    print(f"\n{rounds} turns of {seconds:g} s each; {where}\n")
    report.show(targets)
    floors.show(targets, set(wanted))


async def prepare(stack: AsyncExitStack, setting: Bench, wanted: Collection[str]) -> dict[str, Service]:
    services: list[Service] = []
    for prefix, opened in OPENED.items():
        if any(name.startswith(prefix) for name in wanted):
            with left_out(prefix):
                services += await stack.enter_async_context(opened(setting))
    if any(name.startswith(FAREBOX) for name in wanted):
        services += await stack.enter_async_context(farebox.services(setting, wanted))
    return {one.name: one for one in services}


async def turn(target: Target, seconds: float) -> None:
    service = target.service
    await asyncio.sleep(PAUSE_SECONDS)
    requests = service.requests(target.payments(seconds))
    before = service.cpu_seconds()
    try:
        measured = await load(service.port, requests, connections=target.connections, seconds=seconds)
    except OSError:
        # It takes no connections any more; what became of the others counts all the same.
        measured = Measured(broken=target.connections)
    measured.cpu_seconds, measured.beside_cpu_seconds = (
        now - then for now, then in zip(service.cpu_seconds(), before, strict=True)
    )
    target.note(measured)


if __name__ == "__main__":
    main()
