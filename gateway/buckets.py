"""Token buckets, in Valkey or Redis so that all processes share them.

When it is away, each process counts for itself, and asks once a second whether it is back.
"""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass as identity
from dataclasses import field
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from config.settings import Limits
from gateway.advances import KEPT_SECONDS, Advances
from gateway.kit.addresses import unit_of
from gateway.kit.groups import Group
from gateway.kit.problem import Refusal
from gateway.kit.tasks import Crew
from gateway.kit.values import dataclass
from gateway.metering import metrics

SCRIPT = Path(__file__).with_suffix(".lua").read_text()
# One hash tag, so that a cluster keeps all buckets on one node and one call can take from several.
NAMESPACE = "{farebox}:limit:"
LOCAL_BUCKETS_MAX = 100_000
RETRY_SECONDS = 1.0
WRITTEN_MAX = 16

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(list[tuple[int, int, int, int]], strict=False).decode

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Allowance:
    """How often a caller may call, by the limit that leaves it the least."""

    wait_seconds: float
    """0 for a call that may be made."""
    bucket: "Bucket"
    remaining: int
    reset_seconds: float
    """Until all of the burst is there again."""

    @property
    def kind(self) -> str:
        return self.bucket.kind

    @property
    def headers(self) -> Mapping[str, str]:
        """In the three fields that clients know, and in the two of draft-ietf-httpapi-ratelimit-headers."""
        reset, bucket = math.ceil(self.reset_seconds), self.bucket
        return {
            "RateLimit-Limit": str(bucket.burst),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(reset),
            "RateLimit-Policy": bucket.policy,
            "RateLimit": f'"{self.kind}";r={self.remaining};t={reset}',
        }

    @property
    def lines(self) -> str:
        """The same as they are written."""
        left, reset = str(self.remaining), math.ceil(self.reset_seconds)
        before, between, behind = self.bucket.written.get(reset) or self.bucket.write(reset)
        return f"{before}{left}{between}{left}{behind}"


class TooManyCalls(Refusal):
    status, slug, title = 429, "too-many-calls", "Too many calls"

    def __init__(self, allowance: Allowance) -> None:
        super().__init__(
            f"the limit for this {allowance.kind} is reached; call again in {allowance.wait_seconds:.1f} s"
        )
        wait = max(1, math.ceil(allowance.wait_seconds))
        self.headers = {"Retry-After": str(wait), **allowance.headers}


@identity(eq=False, slots=True)
class Bucket:
    """Each is one object, by which its callers' advances are found."""

    kind: str
    """What the limit is called in RateLimit headers."""
    owner: str
    rate: float
    """Calls a second."""
    burst: int
    name: str = field(init=False)
    policy: str = field(init=False)
    written: dict[int, tuple[str, str, str]] = field(init=False, default_factory=dict)
    """What the fields say, by the seconds until it is full, around the two numbers that each call changes."""

    def __post_init__(self) -> None:
        # Not in every call: a bucket is kept for as long as its owner calls.
        self.name = f"{self.kind}:{self.owner}"
        self.policy = f'"{self.kind}";q={self.burst};w={math.ceil(self.burst / self.rate)}'

    def write(self, reset: int) -> tuple[str, str, str]:
        if len(self.written) >= WRITTEN_MAX:
            self.written.clear()
        around = self.written[reset] = (
            f"RateLimit-Limit: {self.burst}\r\nRateLimit-Remaining: ",
            f'\r\nRateLimit-Reset: {reset}\r\nRateLimit-Policy: {self.policy}\r\nRateLimit: "{self.kind}";r=',
            f";t={reset}\r\n",
        )
        return around


def by_address(limits: Limits, address: IPv4Address | IPv6Address) -> Bucket:
    return bucket("address", unit_of(address), limits.address_calls_per_second, limits.address_burst)


# Remembered, because whoever calls is in one for each of its calls.
bucket = lru_cache(maxsize=8192)(Bucket)


@dataclass(frozen=True, slots=True)
class Asking:
    buckets: tuple[Bucket, ...]
    cost: int
    """How many tokens are taken from each; below zero, how many are given back."""


class Buckets:
    """A process's way to the shared buckets. All who ask in one tick of the loop share one round trip."""

    def __init__(self, redis: Redis | None) -> None:
        self.redis = redis
        self.script = redis.register_script(SCRIPT) if redis is not None else None
        self.group: Group[Asking, Allowance] = Group(self.take_batch)
        self.crew = Crew()
        self.advances = Advances()
        self.sweeper: asyncio.TimerHandle | None = None
        self.local: dict[str, tuple[float, float]] = {}
        self.is_down = False
        metrics.LIMITS_SHARED.set(0 if redis is None else 1)

    async def take(self, *buckets: Bucket) -> Allowance:
        """Take a token from each of them, or from none when one has none."""
        if self.script is None:
            return await self.group.add(Asking(buckets, 1))
        advance = self.advances.take(buckets)
        if advance is None or advance.is_low(time.monotonic()):
            self.ask_ahead(buckets)
        if advance is not None and advance.shared is not None:
            return with_more(advance.shared, advance.left)
        allowance = await self.group.add(Asking(buckets, 1))
        self.advances.told(buckets, allowance)
        return allowance

    def ahead(self, buckets: tuple[Bucket, ...]) -> Allowance | None:
        """``take`` without waiting, where that can be; None where somebody has to be asked."""
        advance, now = self.advances.by_buckets.get(buckets), time.monotonic()
        if advance is None or advance.left <= 0 or advance.shared is None or advance.ends < now:
            return None
        advance.calls += 1
        advance.left -= 1
        if advance.is_low(now):
            self.ask_ahead(buckets)
        return with_more(advance.shared, advance.left)

    def ask_ahead(self, buckets: tuple[Bucket, ...]) -> None:
        """In the same round trip as whoever waits, and without waiting for it."""
        if self.sweeper is None:
            self.sweeper = asyncio.get_running_loop().call_later(KEPT_SECONDS, self.sweep)
        if size := self.advances.begin(buckets):
            asked = self.group.add(Asking(buckets, size))
            asked.add_done_callback(lambda done: self.advances.granted(buckets, size, said(done)))

    def sweep(self) -> None:
        self.sweeper = None
        for buckets, left in self.advances.over():
            _ = self.group.add(Asking(buckets, -left))
        if self.advances.by_buckets:
            self.sweeper = asyncio.get_running_loop().call_later(KEPT_SECONDS, self.sweep)

    async def require(self, *buckets: Bucket) -> Allowance:
        """The same, or ``TooManyCalls``."""
        allowance = await self.take(*buckets)
        if allowance.wait_seconds:
            raise TooManyCalls(allowance)
        return allowance

    def give_back(self, *buckets: Bucket) -> None:
        """Without waiting for it: whoever gives back has been answered already."""
        _ = self.group.add(Asking(buckets, -1))

    async def take_batch(self, batch: Sequence[Asking]) -> Sequence[Allowance]:
        if self.script is not None and not self.is_down:
            keys, arguments = packed(batch)
            try:
                return unpacked(batch, await self.script(keys=keys, args=[arguments]))
            except RedisError as error:
                self.go_local(str(error))
        if self.script is not None:
            metrics.LIMITS_LOCAL.inc(len(batch))
        return [self.take_local(one) for one in batch]

    def go_local(self, reason: str) -> None:
        if self.is_down:
            return
        self.is_down = True
        metrics.LIMITS_SHARED.set(0)
        log.warning("limits.local", reason=reason)
        # In the background, so that no call waits for an answer that may not come.
        self.crew.start(self.await_return())

    async def await_return(self) -> None:
        assert self.redis is not None, "there is something to come back"
        while self.is_down:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                await self.redis.ping()
            except RedisError:
                continue
            self.is_down = False
        metrics.LIMITS_SHARED.set(1)
        log.warning("limits.shared")

    def take_local(self, asking: Asking) -> Allowance:
        now = time.monotonic()
        levels = [self.level(bucket, now) for bucket in asking.buckets]
        waits = [
            max(0.0, (asking.cost - level) / bucket.rate)
            for bucket, level in zip(asking.buckets, levels, strict=True)
        ]
        wait = max(waits)
        at = waits.index(wait) if wait else levels.index(min(levels))
        if not wait:
            levels = [level - asking.cost for level in levels]
        for bucket, level in zip(asking.buckets, levels, strict=True):
            self.keep(bucket.name, min(level, float(bucket.burst)), now)
        bucket = asking.buckets[at]
        return Allowance(wait, bucket, int(levels[at]), (bucket.burst - levels[at]) / bucket.rate)

    def level(self, bucket: Bucket, now: float) -> float:
        tokens, at = self.local.get(bucket.name, (float(bucket.burst), now))
        return min(float(bucket.burst), tokens + (now - at) * bucket.rate)

    def keep(self, name: str, tokens: float, now: float) -> None:
        if name not in self.local and len(self.local) >= LOCAL_BUCKETS_MAX:
            self.local.pop(next(iter(self.local)))
        self.local[name] = tokens, now

    async def close(self) -> None:
        await self.crew.close()
        if self.sweeper is not None:
            self.sweeper.cancel()
        await self.group.close()
        if self.redis is not None:
            await self.redis.aclose()


def said(done: "asyncio.Future[Allowance]") -> Allowance | None:
    return None if done.cancelled() or done.exception() else done.result()


def with_more(shared: Allowance, left: int) -> Allowance:
    """What a caller has when ``left`` calls of its advance are not made yet."""
    bucket = shared.bucket
    reset_seconds = shared.reset_seconds - left / bucket.rate
    return Allowance(0, bucket, shared.remaining + left, reset_seconds if reset_seconds > 0 else 0.0)


def packed(batch: Sequence[Asking]) -> tuple[list[str], bytes]:
    """What the script is given: a bucket that several ask for is read and written once.

    The numbers are one argument, because the client library takes its time over each.
    """
    positions: dict[str, int] = {}
    sizes: list[float] = []
    askings: list[int] = []
    for asking in batch:
        askings += (asking.cost, len(asking.buckets))
        for bucket in asking.buckets:
            position = positions.get(bucket.name)
            if position is None:
                position = positions[bucket.name] = len(positions) + 1
                sizes += (bucket.rate, bucket.burst)
            askings.append(position)
    return [NAMESPACE + name for name in positions], encode([sizes, askings])


def unpacked(batch: Sequence[Asking], answer: bytes) -> list[Allowance]:
    allowances = []
    for asking, (wait, position, remaining, reset) in zip(batch, decode(answer), strict=True):
        allowances.append(Allowance(wait / 1000, asking.buckets[position - 1], remaining, reset / 1000))
    return allowances
