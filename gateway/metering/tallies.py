"""What Prometheus is told of calls, added up here and told a few times a second.

Telling its client of one thing locks, asks the kernel for our process id and writes to a file that other
processes read. A call has a score of them, and that would take longer than some of its stages do.
"""

from bisect import bisect_right
from collections.abc import Iterable
from math import inf

from prometheus_client import Counter, Histogram

from gateway.kit.later import Later
from gateway.metering import metrics

FLUSH_SECONDS = 0.25
NANOSECONDS = 1_000_000_000


class Tallies:
    def __init__(self) -> None:
        self.stages: dict[str, list[int]] = {}
        """What each stage took, in nanoseconds, in all calls."""
        self.calls: list[int] = []
        self.counted: dict[Counter, int] = {}
        self.under_way = 0
        """Calls, which whoever begins and ends them counts here."""
        self.flushing = Later(self.flush)

    def count(self, counter: Counter, amount: int = 1) -> None:
        self.counted[counter] = self.counted.get(counter, 0) + amount
        self.flush_soon()

    def add(self, counters: Iterable[Counter]) -> None:
        """``count`` each of them, without seeing to it that it is told."""
        counted = self.counted
        for counter in counters:
            counted[counter] = counted.get(counter, 0) + 1

    def time(self, stage: str, spent: Iterable[int]) -> None:
        """What a stage took in several calls."""
        known = self.stages.get(stage)
        if known is None:
            known = self.stages[stage] = []
        known.extend(spent)

    def flush_soon(self) -> None:
        self.flushing.within(FLUSH_SECONDS)

    def flush(self) -> None:
        self.flushing.cancel()
        counted, self.counted = self.counted, {}
        for counter, amount in counted.items():
            counter.inc(amount)
        calls, self.calls = self.calls, []
        tell(metrics.CALL_SECONDS, calls)
        stages, self.stages = self.stages, {}
        for stage, spent in stages.items():
            tell(metrics.STAGE.labels(stage), spent)
        metrics.IN_FLIGHT.set(self.under_way)


def tell(histogram: Histogram, values: list[int]) -> None:
    """A histogram is told of one value at a time; only its parts can be told of many at once."""
    if not values:
        return
    values.sort()
    counted = 0
    for bucket, bound in zip(histogram._buckets, histogram._upper_bounds, strict=True):
        below = len(values) if bound == inf else bisect_right(values, bound * NANOSECONDS)
        if below > counted:
            bucket.inc(below - counted)
            counted = below
    histogram._sum.inc(sum(values) / NANOSECONDS)
