"""What was measured, as ratios with their spread."""

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from bench.load import Measured
from bench.others import PLAIN
from bench.started import Service

LARGE = ", 1 MiB"
PAYMENTS_PER_SECOND = 2000


@dataclass(slots=True)
class Target:
    service: Service
    connections: int
    turns: list[Measured] = field(default_factory=list)
    best_per_second: float = PAYMENTS_PER_SECOND

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def unexpected(self) -> str:
        """How many answers of another status, and how often none at all."""
        found = Counter({"none": sum(one.broken for one in self.turns)})
        for one in self.turns:
            found.update({status.decode(): count for status, count in one.statuses.items()})
        del found[self.service.status.decode()]
        return ", ".join(f"{count} {what}" for what, count in (+found).items()) or "0"

    def note(self, turn: Measured) -> None:
        self.turns.append(turn)
        self.best_per_second = max(self.best_per_second, turn.per_second)

    def payments(self, seconds: float) -> int:
        """As many as a turn may use; it ends early without more, and counts for the time that it took."""
        return int(1.5 * self.best_per_second * seconds) + self.connections


def base(name: str) -> str:
    """What everything is compared with: of large bodies, the same with large bodies."""
    return PLAIN + LARGE if name.endswith(LARGE) else PLAIN


def show(targets: Sequence[Target]) -> None:
    found = {(one.name, one.connections): one for one in targets}
    print(f"As multiples of the {PLAIN}; the quartiles of the turns in brackets:\n")
    print(
        "| target | connections | throughput | p50 | p99 | CPU µs | beside it | calls/s here | unexpected |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for one in targets:
        theirs = found.get((base(one.name), one.connections))
        columns = (
            one.name, one.connections, spread(ratios(one, theirs, per_second)),
            middle(ratios(one, theirs, p50)), middle(ratios(one, theirs, p99)),
            each(one, "cpu_seconds"), each(one, "beside_cpu_seconds"),
            f"{statistics.median(map(per_second, one.turns)):.0f}", one.unexpected,
        )  # fmt: skip
        print(f"| {' | '.join(map(str, columns))} |")


def per_second(turn: Measured) -> float:
    return turn.per_second


def per_cpu_second(turn: Measured) -> float:
    return turn.calls_per_cpu_second


def p50(turn: Measured) -> float:
    return turn.quantile(0.5)


def p99(turn: Measured) -> float:
    return turn.quantile(0.99)


def ratios(one: Target | None, other: Target | None, number: Callable[[Measured], float]) -> list[float]:
    """Each turn against the other's of the same round."""
    if one is None or other is None:
        return []
    return [
        number(mine) / number(theirs)
        for mine, theirs in zip(one.turns, other.turns, strict=True)
        if number(mine) > 0 and number(theirs) > 0
    ]


def each(one: Target, name: str) -> str:
    costs = [getattr(turn, name) / len(turn.latencies) * 1e6 for turn in one.turns if turn.latencies]
    return f"{statistics.median(costs):.0f}" if any(costs) else "-"


def middle(values: Iterable[float]) -> str:
    found = [*values]
    return number(statistics.median(found)) if found else "-"


def spread(values: Sequence[float]) -> str:
    if len(values) < 3:
        return middle(values)
    low, half, high = statistics.quantiles(values, n=4)
    return f"{number(half)} ({number(low)} to {number(high)})"


def number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"
