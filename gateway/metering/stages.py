"""How long the stages of calls take.

A call passes nine of them, and telling Prometheus' client of each would take longer than some of them do: it
locks, and writes to a file that other processes read. So they are added up here and told a few times a
second.
"""

import asyncio
from bisect import bisect_left
from dataclasses import dataclass, field

from prometheus_client import Histogram

from gateway.metering import metrics
from gateway.metering.watch import Watch

FLUSH_SECONDS = 0.25


@dataclass(slots=True)
class Tally:
    """By bucket of the histogram, the last one for what is above all bounds."""

    child: Histogram
    counts: list[int] = field(default_factory=lambda: [0] * (len(metrics.STAGE_SECONDS) + 1))
    seconds: float = 0

    def flush(self) -> None:
        # A histogram is told of one value at a time; only its parts can be told of many at once.
        for bucket, count in zip(self.child._buckets, self.counts, strict=True):
            if count:
                bucket.inc(count)
        self.child._sum.inc(self.seconds)
        self.counts = [0] * len(self.counts)
        self.seconds = 0


class Stages:
    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}
        self.timer: asyncio.TimerHandle | None = None

    def add(self, watch: Watch, ended: float) -> None:
        for name, at in reversed(watch.entered):
            if name == "relay" and watch.is_socket:
                ended = at
                continue
            tally = self.tallies.get(name)
            if tally is None:
                tally = self.tallies[name] = Tally(metrics.STAGE.labels(name))
            seconds = ended - at
            tally.counts[bisect_left(metrics.STAGE_SECONDS, seconds)] += 1
            tally.seconds += seconds
            ended = at
        if self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        for tally in self.tallies.values():
            tally.flush()
