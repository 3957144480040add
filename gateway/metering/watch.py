"""What is known of a call while it runs.

The call writes here what it finds out, stage by stage, so that whatever its end is, ``report.py`` can say how
far it came, whose it was and what it cost.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from time import perf_counter_ns
from typing import Any, Literal, TypeAlias, get_args
from uuid import UUID

import msgspec
from prometheus_client import Counter

from gateway.buckets import Allowance
from gateway.kit.problem import Refusal
from gateway.kit.trace import Trace
from gateway.metering import metrics
from gateway.types import Answer, Caller, Head, Hold, Match, Rail, Receipt

Stage: TypeAlias = Literal[
    "admit", "match", "identify", "limit", "price", "protect", "pay", "forward", "settle", "relay"
]
Ending: TypeAlias = Literal["answered", "refused", "failed", "hung_up", "cut_short", "cancelled"]
"""``hung_up`` is the caller's doing and ``cut_short`` the upstream's, both after the head of the answer."""
# An upstream that is known to fail, or has enough to do, is not asked, and nobody pays.
NOT_ASKED = frozenset({"upstream-resting", "upstream-busy"})
# Finding a counter by its labels takes longer than counting.
COUNTERS: dict[tuple[str, str, str], Counter] = {}


STAGES: tuple[Stage, ...] = get_args(Stage)
# Of a call whose head came before: what it means is not found out again, nor what it costs.
RECALLED: tuple[Stage, ...] = ("limit", "protect", "pay", "forward", "settle", "relay")


class Known:
    """What is said of each call with the same request and caller."""

    __slots__ = ("line", "text")

    def __init__(self, line: Mapping[str, Any]) -> None:
        self.line = line
        self.text = msgspec.json.encode(line)[1:-1].decode()
        """The same as it is written, between what is said of other calls, too."""


class Watch:
    __slots__ = (
        "allowance", "broken", "call_id", "caller", "count", "entered", "error", "first_call_id", "head",
        "known", "match", "method", "order", "path", "payer", "rail", "receipt", "refusal",
        "status", "trace",
    )  # fmt: skip

    def __init__(
        self,
        call_id: UUID,
        method: str,
        path: str,
        trace: Trace | None,
        count: Callable[[Counter, int], None] = Counter.inc,
        match: Match | None = None,
    ) -> None:
        """``path`` is as the client sent it, from the root and without the query. ``count`` is where counts
        are added up before Prometheus is told.
        """
        self.call_id, self.method, self.path, self.trace, self.count = call_id, method, path, trace, count
        self.match = match
        self.entered = [perf_counter_ns()]
        """When each stage began, in nanoseconds. A stage ends when the next one begins."""
        self.order = STAGES
        """What the stages are that were entered, and those that would follow."""
        self.caller: Caller | None = None
        self.allowance: Allowance | None = None
        self.rail: Rail | None = None
        """How it was paid, or was to be paid."""
        self.payer: str | None = None
        """The wallet that pays, where one does."""
        self.head: Head | None = None
        self.receipt: Receipt | None = None
        self.status: int | None = None
        """Of the answer; None while there is none."""
        self.refusal: Refusal | None = None
        self.error: Exception | None = None
        self.broken: Literal["hung_up", "cut_short"] | None = None
        self.first_call_id: UUID | None = None
        """Of the call that was made and charged before, whose answer this one is given."""
        self.known: Known | None = None
        """What the log says of each call like this one, if that was found out before."""

    def recalled(self, match: Match, caller: Caller, known: Known, *, is_priced: bool) -> None:
        """The same was asked before: the first stages are not entered, or over at once without a price."""
        self.match, self.caller, self.known = match, caller, known
        if is_priced:
            self.order = RECALLED
        else:
            now = perf_counter_ns()
            self.entered += (now, now, now)

    def admitted(self) -> None:
        self.entered.append(perf_counter_ns())

    def matched(self, match: Match) -> Match:
        self.match = match
        self.entered.append(perf_counter_ns())
        return match

    def identified(self, caller: Caller) -> Caller:
        self.caller = caller
        self.entered.append(perf_counter_ns())
        return caller

    def limited(self, allowance: Allowance) -> Allowance:
        self.allowance = allowance
        self.entered.append(perf_counter_ns())
        return allowance

    def priced(self) -> None:
        if self.order is not RECALLED:
            self.entered.append(perf_counter_ns())

    def protected(self) -> None:
        self.entered.append(perf_counter_ns())

    def held(self, hold: Hold) -> None:
        event = hold.event
        self.rail, self.payer = event.rail, event.payer
        self.entered.append(perf_counter_ns())

    def answered(self, head: Head) -> None:
        self.head = head
        self.entered.append(perf_counter_ns())

    def settled(self, receipt: Receipt | None) -> None:
        """What the head says that the call cost; nothing yet for one whose body decides."""
        self.receipt = receipt
        if receipt is not None and receipt.cost:
            self.count_money(receipt)
        self.entered.append(perf_counter_ns())

    def enter(self, stage: Stage) -> None:
        """For calls that go another way than the most."""
        place = len(self.entered)
        if self.order[place : place + 1] != (stage,):
            self.order = (*self.order[:place], stage)
        self.entered.append(perf_counter_ns())

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Those that were entered."""
        return self.order[: len(self.entered)]

    def repeat(self, answer: Answer, receipt: Receipt) -> None:
        """The call was made and charged before: its answer is given again, and nothing is charged."""
        self.first_call_id, self.head = receipt.call_id, answer.head
        self.enter("relay")
        metrics.REPLAYS.labels(receipt.rail).inc()

    def charge(self, receipt: Receipt) -> None:
        """What a call that is paid for by use was charged, in one piece or several."""
        before = self.receipt.cost if self.receipt is not None else None
        self.receipt = replace(receipt, cost=(before or 0) + (receipt.cost or 0))
        self.count_money(receipt)

    def count_money(self, receipt: Receipt) -> None:
        """As it is charged: a long conversation must not show at its end only."""
        if receipt.asset is None or not receipt.cost:
            return
        labels = (receipt.asset.symbol, receipt.asset.network, receipt.rail)
        counter = COUNTERS.get(labels)
        if counter is None:
            counter = COUNTERS[labels] = metrics.CHARGED.labels(*labels)
        self.count(counter, receipt.cost)

    @property
    def ending(self) -> Ending:
        if self.error is not None:
            return "failed"
        if self.broken is not None:
            return self.broken
        if self.refusal is not None:
            return "refused"
        return "cancelled" if self.status is None else "answered"

    @property
    def is_socket(self) -> bool:
        """A conversation has no latency: it lasts as long as its two sides want it to."""
        return self.head is not None and self.head.status == 101

    @property
    def outcome(self) -> str:
        """What became of the call and its money: the usage row's words, and a few for calls without one."""
        if self.error is not None:
            return "failed"
        if self.first_call_id is not None:
            return "replayed"
        if self.is_served and self.receipt is not None:
            if self.receipt.rail == "free":
                return "free"
            return "settlement_failed" if self.receipt.cost is None else "charged"
        if self.refusal is not None:
            return self.outcome_of(self.refusal)
        return "abandoned" if self.status is None else "upstream_refused"

    @property
    def is_served(self) -> bool:
        return self.head is not None and (self.head.is_success or self.is_socket)

    def outcome_of(self, refusal: Refusal) -> str:
        if refusal.outcome is not None:
            return refusal.outcome
        if self.head is not None:
            # The upstream answered, and then the money did not come, or nobody knows yet whether it did.
            return "settlement_pending" if refusal.status == 503 else "settlement_failed"
        if refusal.slug in NOT_ASKED:
            return "upstream_unavailable"
        return "payment_required" if refusal.status == 402 else "refused"
