"""Stage 4 of 8, after identify, before price: refuse who calls too often, before any money moves.

Token buckets for the key and for the client address, in Valkey or Redis so that all processes share them.
When it is away, calls go on and each process counts for itself.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from config.settings import Limits
from gateway.kit.groups import Group
from gateway.kit.problem import Refusal
from gateway.metering import metrics
from gateway.types import Caller, Inbound

SCRIPT = Path(__file__).with_suffix(".lua").read_text()
# One hash tag, so that a cluster keeps all buckets on one node and one call can take from several.
NAMESPACE = "{farebox}:bucket:"
LOCAL_BUCKETS_MAX = 100_000

log = structlog.get_logger(__name__)


class TooManyCalls(Refusal):
    status, slug, title = 429, "too-many-calls", "Too many calls"

    def __init__(self, whose: str, wait_seconds: float) -> None:
        super().__init__(f"{whose} may call again in {wait_seconds:.1f} s")
        self.headers = {"Retry-After": str(max(1, math.ceil(wait_seconds)))}


@dataclass(frozen=True, slots=True)
class Bucket:
    name: str
    rate: float
    """Calls a second."""
    burst: int


async def limit(buckets: "Buckets", limits: Limits, inbound: Inbound, caller: Caller) -> None:
    address = Bucket(f"address:{unit(inbound)}", limits.address_calls_per_second, limits.address_burst)
    if caller.key_id is None:
        asked = [(address, "this address")]
    else:
        # A key is its organization's own limit: its machines may share an address with strangers.
        asked = [
            (Bucket(f"key:{caller.key_id}", limits.key_calls_per_second, limits.key_burst), "this API key")
        ]
    for bucket, whose in asked:
        if wait_seconds := await buckets.take(bucket):
            raise TooManyCalls(whose, wait_seconds)


def unit(inbound: Inbound) -> str:
    """Who counts as one client: an IPv4 address, or the /64 that one IPv6 customer is given."""
    address = inbound.client_address
    return str(address) if isinstance(address, IPv4Address) else address.exploded[:19]


class Buckets:
    """Every process's way to the shared buckets. All who ask in one tick of the loop share one round trip."""

    def __init__(self, redis: Redis | None) -> None:
        self.redis = redis
        self.script = redis.register_script(SCRIPT) if redis is not None else None
        self.group: Group[Bucket, float] = Group(self.take_batch, lanes=2)
        self.local: dict[str, tuple[float, float]] = {}
        self.is_down = False
        metrics.LIMITS_SHARED.set(0 if redis is None else 1)

    async def take(self, bucket: Bucket) -> float:
        """Take a token and return 0, or the seconds until there will be one."""
        return await self.group.add(bucket)

    async def take_batch(self, batch: Sequence[Bucket]) -> Sequence[float]:
        if self.script is not None:
            try:
                keys = [NAMESPACE + bucket.name for bucket in batch]
                arguments = [number for bucket in batch for number in (bucket.rate, bucket.burst)]
                waits = await self.script(keys=keys, args=arguments)
            except RedisError as error:
                self.note(str(error))
                metrics.LIMITS_LOCAL.inc(len(batch))
            else:
                self.note(None)
                return [wait / 1000 for wait in waits]
        return [self.take_local(bucket) for bucket in batch]

    def note(self, failure: str | None) -> None:
        """Log when the shared buckets go and when they come back, not for every call between."""
        if (failure is not None) != self.is_down:
            self.is_down = failure is not None
            log.warning("limits.local" if self.is_down else "limits.shared", reason=failure)
        metrics.LIMITS_SHARED.set(0 if self.is_down else 1)

    def take_local(self, bucket: Bucket) -> float:
        now = time.monotonic()
        if bucket.name not in self.local and len(self.local) >= LOCAL_BUCKETS_MAX:
            self.local.pop(next(iter(self.local)))
        tokens, at = self.local.get(bucket.name, (float(bucket.burst), now))
        tokens = min(float(bucket.burst), tokens + (now - at) * bucket.rate)
        is_there = tokens >= 1
        self.local[bucket.name] = (tokens - 1 if is_there else tokens, now)
        return 0.0 if is_there else (1 - tokens) / bucket.rate

    async def close(self) -> None:
        await self.group.close()
        if self.redis is not None:
            await self.redis.aclose()
