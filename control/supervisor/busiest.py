"""The ``publisher`` label, kept to the busiest: the rest are counted together.

Who is busiest changes, and only here is seen what all processes counted. A publisher's calls are counted
under its name while it is among the busiest, and under ``other`` while it is not; what was counted before is
not moved, because a counter that goes down reads as a restart.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from prometheus_client import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

LABEL = "publisher"
RANKED_BY = "farebox_calls_total"
NAMES_MAX = 200
# Calls of an hour ago count half.
HALF_LIFE_SECONDS = 3600
# Whoever has a name keeps it against one that is hardly busier: a series that comes and goes tells little.
INCUMBENT_BONUS = 1.25
OTHER = "other"
# "none" is for calls that found no publisher.
NOT_RANKED = frozenset({"none", OTHER})

Key: TypeAlias = tuple[str, frozenset[tuple[str, str]]]


class Busiest(Collector):
    """What another collector finds, with few publishers in it."""

    def __init__(
        self, inner: Collector, names_max: int = NAMES_MAX, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.inner = inner
        self.names_max = names_max
        self.clock = clock
        self.lock = threading.Lock()
        self.looked_at = clock()
        self.counted: dict[Key, float] = {}
        self.shown: defaultdict[Key, float] = defaultdict(float)
        self.busy: defaultdict[str, float] = defaultdict(float)
        self.named: set[str] = set()

    def collect(self) -> Iterator[Metric]:
        # Two scrapes at once must not both count what is new.
        with self.lock:
            families = list(self.inner.collect())
            grown = list(self.growth(families))
            self.rank(grown)
            for sample, growth in grown:
                self.shown[self.key(sample)] += growth
            bounded = [self.bounded(family) for family in families]
        yield from bounded

    def growth(self, families: Iterable[Metric]) -> Iterator[tuple[Sample, float]]:
        for family in families:
            for sample in family.samples:
                if LABEL in sample.labels:
                    key = (sample.name, frozenset(sample.labels.items()))
                    before = self.counted.get(key, 0.0)
                    self.counted[key] = sample.value
                    yield sample, max(sample.value - before, 0.0)

    def rank(self, grown: Iterable[tuple[Sample, float]]) -> None:
        now = self.clock()
        fading = 0.5 ** ((now - self.looked_at) / HALF_LIFE_SECONDS)
        self.looked_at = now
        for name in self.busy:
            self.busy[name] *= fading
        for sample, growth in grown:
            if sample.name == RANKED_BY and sample.labels[LABEL] not in NOT_RANKED:
                self.busy[sample.labels[LABEL]] += growth
        order = sorted(self.busy, key=self.weight, reverse=True)
        gone = self.named - set(order[: self.names_max])
        self.named = set(order[: self.names_max])
        for key in [key for key in self.shown if dict(key[1])[LABEL] in gone]:
            del self.shown[key]

    def weight(self, name: str) -> float:
        return self.busy[name] * (INCUMBENT_BONUS if name in self.named else 1)

    def key(self, sample: Sample) -> Key:
        name = sample.labels[LABEL]
        label = name if name in self.named or name in NOT_RANKED else OTHER
        return sample.name, frozenset({**sample.labels, LABEL: label}.items())

    def bounded(self, family: Metric) -> Metric:
        if not any(LABEL in sample.labels for sample in family.samples):
            return family
        names = {sample.name for sample in family.samples}
        few = Metric(family.name, family.documentation, family.type)
        for (name, labels), value in self.shown.items():
            if name in names:
                few.add_sample(name, dict(labels), value)
        return few
