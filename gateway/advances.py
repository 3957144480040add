"""Tokens that a process takes from the shared buckets ahead of the calls that will use them.

Who calls often would wait for Valkey in each call, and its answer is a good part of what a call costs. So a
caller that has plenty left is counted a few calls in advance, in one round trip. What was taken is gone from
the shared bucket, so all processes together never grant more than it has; what is not used within a moment is
given back. A bucket with little left is asked in every call, and so decides exactly who comes too often.
"""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from gateway.buckets import Allowance, Bucket

# No more than this share of what a bucket has left, and no more calls.
SHARE = 16
CALLS_MAX = 1024
# Fewer are not worth it.
CALLS_MIN = 8
KEPT_SECONDS = 0.25

Asked: TypeAlias = "tuple[Bucket, ...]"


@dataclass(slots=True)
class Advance:
    """What is taken already from the buckets of one caller."""

    left: int = 0
    ends: float = 0.0
    calls: int = 0
    """Since it was asked for, those included that came before the answer: twice as many are worth taking."""
    size: int = CALLS_MIN
    """What was worth taking the last time."""
    shared: "Allowance | None" = None
    """What the shared buckets said last."""
    is_asked: bool = False

    def is_low(self, now: float) -> bool:
        """Whether more is wanted before it is used up, or over."""
        return not self.is_asked and (2 * self.left <= self.size or self.ends - now < KEPT_SECONDS / 2)

    def worth(self) -> int:
        """How many calls should be counted ahead now; 0 for none."""
        if self.shared is None:
            return 0
        size = min(2 * self.calls, self.shared.remaining // SHARE, CALLS_MAX)
        return size if size >= CALLS_MIN else 0


@dataclass(slots=True)
class Advances:
    by_buckets: dict[Asked, Advance] = field(default_factory=dict)

    def take(self, asked: Asked) -> Advance | None:
        """What is left after this call, or None when the shared buckets have to be asked."""
        advance = self.by_buckets.get(asked)
        if advance is None:
            return None
        advance.calls += 1
        if advance.left <= 0 or advance.ends < time.monotonic():
            return None
        advance.left -= 1
        return advance

    def begin(self, asked: Asked) -> int:
        """How many calls to ask for with one that waits, below zero to give back; who gets a number asks."""
        advance = self.by_buckets.get(asked)
        if advance is None:
            advance = self.by_buckets[asked] = Advance(calls=1)
        size = advance.worth() if advance.is_low(time.monotonic()) else 0
        if not size:
            return 0
        is_used_up = 2 * advance.left <= advance.size
        advance.is_asked, advance.size, advance.calls = True, size, 0
        if is_used_up:
            return size
        # Over before it is used up, so enough is left: one more, with which its time begins anew. Who has
        # become slow does not keep what it was granted when it was fast, besides a bucket that is full again.
        more = size - advance.left
        advance.left = min(advance.left, size)
        return more or 1

    def told(self, asked: Asked, allowance: "Allowance") -> None:
        """What the shared buckets said to one call."""
        if advance := self.by_buckets.get(asked):
            advance.shared = allowance

    def granted(self, asked: Asked, size: int, allowance: "Allowance | None") -> None:
        """What they said to as many calls as ``begin`` had; None when they could not be asked."""
        advance = self.by_buckets[asked]
        advance.is_asked = False
        if allowance is not None and not allowance.wait_seconds:
            # What is given back is gone already.
            advance.left += max(size, 0)
            advance.ends = time.monotonic() + KEPT_SECONDS
            advance.shared = allowance

    def over(self) -> list[tuple[Asked, int]]:
        """Give up what nobody used in time, and forget who has not called."""
        now, unused = time.monotonic(), []
        for asked, advance in list(self.by_buckets.items()):
            if advance.ends < now and not advance.is_asked:
                if advance.left:
                    unused.append((asked, advance.left))
                del self.by_buckets[asked]
        return unused
