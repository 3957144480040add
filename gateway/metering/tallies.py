"""What Prometheus is told of calls, added up here and told a few times a second.

Telling its client of one thing locks, asks the kernel for our process id and writes to a file that other
processes read. A call has a score of them, and that would take longer than some of its stages do.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from prometheus_client import Counter, Histogram

from gateway.metering import metrics

FLUSH_SECONDS = 0.25


@dataclass(slots=True)
class Tally:
    """By bucket of the histogram, the last one for what is above all bounds."""

    child: Histogram
    bounds: tuple[float, ...]
    counts: list[int] = field(init=False)
    seconds: float = 0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds

    def flush(self) -> None:
        # A histogram is told of one value at a time; only its parts can be told of many at once.
        for bucket, count in zip(self.child._buckets, self.counts, strict=True):
            if count:
                bucket.inc(count)
        self.child._sum.inc(self.seconds)
        self.counts = [0] * len(self.counts)
        self.seconds = 0


class Tallies:
    def __init__(self) -> None:
        self.stages: dict[str, Tally] = {}
        self.calls = Tally(metrics.CALL_SECONDS, metrics.SECONDS)
        self.counted: dict[Counter, int] = {}
        self.under_way = 0
        self.timer: asyncio.TimerHandle | None = None

    def begun(self) -> None:
        self.under_way += 1
        self.flush_soon()

    def ended(self) -> None:
        self.under_way -= 1
        self.flush_soon()

    def count(self, counter: Counter, amount: int = 1) -> None:
        self.counted[counter] = self.counted.get(counter, 0) + amount
        self.flush_soon()

    def time(self, entered: Sequence[tuple[str, float]], ended: float, *, is_socket: bool) -> None:
        """What the stages took, by when each was entered. A conversation's last one has no latency."""
        if entered and not is_socket:
            self.calls.add(ended - entered[0][1])
        for name, at in reversed(entered):
            if name == "relay" and is_socket:
                ended = at
                continue
            tally = self.stages.get(name)
            if tally is None:
                tally = self.stages[name] = Tally(metrics.STAGE.labels(name), metrics.STAGE_SECONDS)
            tally.add(ended - at)
            ended = at
        self.flush_soon()

    def flush_soon(self) -> None:
        if self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        counted, self.counted = self.counted, {}
        for counter, amount in counted.items():
            counter.inc(amount)
        self.calls.flush()
        for tally in self.stages.values():
            tally.flush()
        metrics.IN_FLIGHT.set(self.under_way)
