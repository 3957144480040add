"""What is known of a call while it runs.

The call writes here what it finds out, stage by stage, so that whatever its end is, ``report.py`` can say how
far it came, whose it was and what it cost.
"""

import time
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from uuid import UUID

from gateway.kit.problem import Refusal
from gateway.kit.trace import Trace
from gateway.types import Caller, Head, Hold, Match, Rail, Receipt

Stage: TypeAlias = Literal[
    "admit", "match", "identify", "limit", "price", "pay", "forward", "settle", "relay"
]
Ending: TypeAlias = Literal["answered", "refused", "failed", "hung_up", "cut_short", "cancelled"]
"""``hung_up`` is the caller's doing and ``cut_short`` the upstream's, both after the head of the answer."""


@dataclass(slots=True)
class Watch:
    call_id: UUID
    method: str
    path: str
    """As the client sent it, from the root and without the query."""
    trace: Trace | None
    entered: list[tuple[Stage, float]] = field(default_factory=list)
    """Each stage and the time it began. A stage ends when the next one begins."""
    match: Match | None = None
    caller: Caller | None = None
    hold: Hold | None = None
    head: Head | None = None
    receipt: Receipt | None = None
    status: int | None = None
    """Of the answer; None while there is none."""
    refusal: Refusal | None = None
    error: Exception | None = None
    broken: Literal["hung_up", "cut_short"] | None = None

    def enter(self, stage: Stage) -> None:
        self.entered.append((stage, time.perf_counter()))

    @property
    def ending(self) -> Ending:
        if self.error is not None:
            return "failed"
        if self.refusal is not None:
            return "refused"
        return "cancelled" if self.status is None else self.broken or "answered"

    @property
    def rail(self) -> Rail | None:
        """How it was paid, or was to be paid."""
        return None if self.hold is None else self.hold.event.rail

    @property
    def outcome(self) -> str:
        """What became of the call and its money: the usage row's words, and a few for calls without one."""
        if self.error is not None:
            return "failed"
        if self.receipt is not None:
            return "free" if self.receipt.rail == "free" else "charged"
        if self.refusal is not None:
            return self.outcome_of(self.refusal)
        return "abandoned" if self.status is None else "upstream_refused"

    def outcome_of(self, refusal: Refusal) -> str:
        if refusal.outcome is not None:
            return refusal.outcome
        if self.head is not None:
            # The upstream answered, and then the money did not come.
            return refusal.slug if refusal.slug == "settlement_pending" else "settlement_failed"
        return "payment_required" if refusal.status == 402 else "refused"
