"""What one process knows about how each publisher's upstream is doing."""

import time
from dataclasses import dataclass, field
from uuid import UUID

from config.settings import Upstream


@dataclass(slots=True)
class Load:
    """Calls under way, and failures since the last answer. From ``rests_until`` on, one call may try."""

    under_way: int = 0
    failures: int = 0
    rests_until: float = 0.0
    is_tried: bool = False

    def wait_seconds(self, failures_max: int) -> float | None:
        """None if it may be called, else how long to leave it alone."""
        if not failures_max or self.failures < failures_max:
            return None
        left = self.rests_until - time.monotonic()
        if left > 0:
            return left
        # Half open: somebody is finding out.
        return 1.0 if self.is_tried else None


@dataclass(frozen=True, slots=True)
class Loads:
    settings: Upstream
    by_publisher: dict[UUID, Load] = field(default_factory=dict)

    def of(self, publisher_id: UUID) -> Load:
        load = self.by_publisher.get(publisher_id)
        if load is None:
            load = self.by_publisher[publisher_id] = Load()
        return load

    def failed(self, load: Load) -> None:
        load.failures += 1
        if self.settings.breaker_failures and load.failures >= self.settings.breaker_failures:
            load.rests_until = time.monotonic() + self.settings.breaker_seconds

    def resting(self) -> int:
        """How many upstreams are left alone, or are being tried after that."""
        most = self.settings.breaker_failures
        return sum(load.failures >= most for load in self.by_publisher.values()) if most else 0
