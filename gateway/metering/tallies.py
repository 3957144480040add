"""What Prometheus is told of calls, added up here and told a few times a second.

Telling its client of one thing locks, asks the kernel for our process id and writes to a file that other
processes read. A call has a score of them, and that would take longer than some of its stages do.
"""

import collections
from bisect import bisect_right
from collections.abc import Iterable
from operator import mul
from typing import TypeAlias

from prometheus_client import Counter, Histogram

from gateway.kit.later import Later
from gateway.metering import metrics
from gateway.metering.endings import Ended

FLUSH_SECONDS = 0.25
MICROSECONDS = 1_000_000

Times: TypeAlias = collections.Counter[int]
"""How often something took how many microseconds: calls are much alike, so these are fewer than the calls."""


class Tallies:
    def __init__(self) -> None:
        self.stages: collections.defaultdict[str, Times] = collections.defaultdict(collections.Counter)
        self.latencies: Times = collections.Counter()
        """Of whole calls."""
        self.counted: dict[Counter, int] = {}
        self.under_way = 0
        """Calls, which whoever begins and ends them counts here."""
        self.flushing = Later(self.flush)

    def count(self, counter: Counter, amount: int = 1) -> None:
        self.counted[counter] = self.counted.get(counter, 0) + amount
        if self.flushing.handle is None:
            self.flush_soon()

    def add(self, counters: Iterable[Counter], times: int) -> None:
        """``count`` each of them so often, without seeing to it that it is told."""
        counted = self.counted
        for counter in counters:
            counted[counter] = counted.get(counter, 0) + times

    def time(self, calls: Ended, *, is_socket: bool) -> None:
        """A conversation has no latency, nor its last stage: it lasts as long as its sides want it to."""
        if not is_socket:
            self.latencies.update(calls.lasted)
        for stage, spent in zip(calls.stages, calls.spent, strict=True):
            if stage != "relay" or not is_socket:
                self.stages[stage].update(spent)

    def flush_soon(self) -> None:
        self.flushing.within(FLUSH_SECONDS)

    def flush(self) -> None:
        self.flushing.cancel()
        counted, self.counted = self.counted, {}
        for counter, amount in counted.items():
            counter.inc(amount)
        tell(metrics.CALL_SECONDS, self.latencies)
        for stage, times in self.stages.items():
            tell(metrics.STAGE.labels(stage), times)
        metrics.IN_FLIGHT.set(self.under_way)


def tell(histogram: Histogram, times: Times) -> None:
    """A histogram is told of one value at a time; only its parts can be told of many at once. What was told
    is forgotten.
    """
    if not times:
        return
    ordered = sorted(times)
    at = 0
    for bucket, bound in zip(histogram._buckets, histogram._upper_bounds, strict=True):
        until = bisect_right(ordered, bound * MICROSECONDS)
        if until > at:
            bucket.inc(sum(map(times.__getitem__, ordered[at:until])))
            at = until
    histogram._sum.inc(sum(map(mul, times, times.values())) / MICROSECONDS)
    times.clear()
