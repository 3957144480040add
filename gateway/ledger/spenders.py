"""For whom money is taken ahead, because they call often and have plenty, and how much: all in memory."""

from uuid import UUID

# No more than this share of what a balance has left.
SHARE = 16
# Calls in a tick: who makes fewer is served by holds.
CALLS_MIN = 8
TICK_SECONDS = 0.25
# For how long a purse is drawn on, so that what changes about an account matters to its calls soon.
KEPT_SECONDS = 1.0
# After a balance had too little for one: ticks until it is asked again.
REST_TICKS = 8


class Purse:
    """What its process has left of it. The row has as much or more: it knows of charges, not of draws."""

    __slots__ = ("ends_seconds", "id", "is_retired", "left", "running", "size")

    def __init__(self, purse_id: UUID, amount: int, ends_seconds: float) -> None:
        self.id, self.left, self.ends_seconds = purse_id, amount, ends_seconds
        self.size = amount
        # For calls that have drawn on it and are neither charged nor given back; those of which it is not
        # known stay here, and the purse then is the sweeper's.
        self.running = 0
        self.is_retired = False

    def has(self, amount: int, now_seconds: float) -> bool:
        return self.left >= amount and self.ends_seconds > now_seconds


class Spender:
    """One owner's calls in one asset, and the purses that they are paid from: this one, then the next."""

    __slots__ = (
        "amount", "amount_before", "calls", "calls_before", "is_ahead", "is_asking", "next", "purse", "rest",
        "returned_seconds",
    )  # fmt: skip

    def __init__(self) -> None:
        self.purse: Purse | None = None
        self.next: Purse | None = None
        # In this tick and in the one before.
        self.calls = self.amount = self.calls_before = self.amount_before = 0
        self.is_asking = False
        # Whether some of its money may be in a purse, or on its way to one or back.
        self.is_ahead = False
        self.returned_seconds = 0.0
        """When it was last given up, and was back."""
        self.rest = 0

    def wants(self) -> tuple[int, int] | None:
        """How much to ask for, twice what was spent in a tick, and less than what is not worth it."""
        # First, because it is so for nearly all who draw.
        if self.purse is not None and 2 * self.purse.left >= self.purse.size:
            return None
        calls = max(self.calls, self.calls_before)
        if self.is_asking or self.next is not None or self.rest or calls < CALLS_MIN:
            return None
        size = 2 * max(self.amount, self.amount_before)
        return size, CALLS_MIN * size // (2 * calls)

    def give(self, purse: Purse) -> None:
        if self.purse is None:
            self.purse = purse
        else:
            self.next = purse

    def turn(self) -> Purse | None:
        """Go on to the next purse, and return the one before."""
        before, self.purse, self.next = self.purse, self.next, None
        return before

    def end_tick(self, now_seconds: float) -> list[Purse]:
        """The purses that are not drawn on any more: they have ended, or there was no call."""
        over = []
        while self.purse is not None and (self.calls == 0 or self.purse.ends_seconds < now_seconds):
            over.append(self.purse)
            self.turn()
        self.calls_before, self.amount_before = self.calls, self.amount
        self.calls = self.amount = 0
        self.rest = max(0, self.rest - 1)
        return over
