"""What Farebox has to reach beside others, with all that it does, and what we aim for."""

import statistics
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from bench.load import Measured
from bench.others import PLAIN
from bench.report import Target, middle, number, p99, per_cpu_second, per_second, ratios, spread


@dataclass(frozen=True, slots=True)
class Floor:
    mine: str
    theirs: str
    connections: int
    floor: float
    aim: float
    of: Callable[[Measured], float] = per_second

    def is_held(self, ratio: float, bound: float) -> bool:
        """A latency has a ceiling, where all else has a floor."""
        return ratio <= bound if self.of is p99 else ratio >= bound

    def __str__(self) -> str:
        what = "p99 of " if self.of is p99 else ""
        return f"{what}{self.mine}, c={self.connections}, of {self.theirs}"


FREE, UNPAID, PREPAID = "Farebox, free", "Farebox, unpaid 402", "Farebox, prepaid"
REMOTE, ON_ANVIL = "Farebox, x402 by remote facilitator", "Farebox, x402 on anvil"
FLOORS = (
    Floor(FREE, "nginx", 64, 0.45, 0.75),
    Floor(FREE, PLAIN, 64, 5, 9),
    Floor(UNPAID, "nginx", 64, 0.6, 1.4),
    Floor(UNPAID, "@x402/hono, unpaid 402", 64, 4, 9),
    Floor(UNPAID, "x402 FastAPI, unpaid 402", 64, 12, 25),
    Floor(PREPAID, PLAIN, 64, 2, 3.3),
    Floor(PREPAID, "traefik", 64, 0.7, 1),
    Floor(PREPAID, "caddy", 64, 0.7, 1),
    Floor(PREPAID, "nginx", 256, 0.25, 0.4),
    Floor(REMOTE, "@x402/hono, paid", 16, 15, 40),
    Floor(REMOTE, "x402 FastAPI, paid", 16, 45, 100),
    Floor(REMOTE, "x402 FastAPI, paid", 256, 25, 45),
    Floor(ON_ANVIL, f"{ON_ANVIL}, each alone", 64, 3, 10),
    Floor(PREPAID, PLAIN, 64, 0.6, 0.3, of=p99),
    Floor("Farebox, free, 1 MiB", "nginx, 1 MiB", 16, 0.7, 0.9),
)


def show(targets: Sequence[Target], wanted: AbstractSet[tuple[str, int]]) -> None:
    """Of those that were to be measured."""
    asked = [one for one in FLOORS if {(one.mine, one.connections), (one.theirs, one.connections)} <= wanted]
    if not asked:
        return
    found = {(one.name, one.connections): one for one in targets}
    print("\n| what | ratio | by CPU time | floor | aim | |\n|---|---:|---:|---:|---:|---|")
    for floor in asked:
        mine = found.get((floor.mine, floor.connections))
        theirs = found.get((floor.theirs, floor.connections))
        values = ratios(mine, theirs, floor.of)
        bounds = f"{number(floor.floor)} | {number(floor.aim)}"
        by_cpu = "" if floor.of is p99 else middle(ratios(mine, theirs, per_cpu_second))
        print(f"| {floor} | {spread(values)} | {by_cpu} | {bounds} | {verdict(floor, values)} |")


def verdict(floor: Floor, values: Sequence[float]) -> str:
    if not values:
        return "not measured"
    ratio = statistics.median(values)
    if floor.is_held(ratio, floor.aim):
        return "reaches the aim"
    return "holds" if floor.is_held(ratio, floor.floor) else "falls short"
