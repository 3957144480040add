"""What Prometheus is told of calls, added up here and told a few times a second.

Telling its client of one thing locks, asks the kernel for our process id and writes to a file that other
processes read. A call has a score of them, and that would take longer than some of its stages do.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from math import inf
from typing import TypeAlias

from prometheus_client import Counter, Histogram

from gateway.metering import metrics

FLUSH_SECONDS = 0.25
NANOSECONDS = 1_000_000_000


Rows: TypeAlias = list[Sequence[int]]


class Tallies:
    def __init__(self) -> None:
        self.rows: dict[tuple[str, ...], Rows] = {}
        """What the stages of calls took, in nanoseconds, by which stages they are."""
        self.calls: list[int] = []
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
        if self.timer is None:
            self.flush_soon()

    def time(self, stages: tuple[str, ...], spent: Sequence[int], *, is_socket: bool) -> None:
        """What each stage took. A conversation's last one has no latency."""
        if is_socket:
            stages = stages[: stages.index("relay")] if "relay" in stages else stages
            spent = spent[: len(stages)]
        else:
            self.calls.append(sum(spent))
        rows = self.rows.get(stages)
        if rows is None:
            rows = self.rows[stages] = []
        rows.append(spent)

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
        calls, self.calls = self.calls, []
        tell(metrics.CALL_SECONDS, calls)
        rows, self.rows = self.rows, {}
        by_stage: dict[str, list[int]] = {}
        for stages, spent in rows.items():
            for stage, column in zip(stages, zip(*spent, strict=True), strict=False):
                by_stage.setdefault(stage, []).extend(column)
        for stage, values in by_stage.items():
            tell(metrics.STAGE.labels(stage), values)
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
