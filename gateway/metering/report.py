"""What is said of a call at its end, whatever end that is: a line in the log, the metrics, a span.

Never a secret, a query or a payment. Calls that end within a moment are looked at together, so that what is
said of them costs a part of what it would cost between two calls.
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from operator import sub
from time import perf_counter_ns, time_ns
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from prometheus_client import Counter

from gateway.front.arrived import Wording
from gateway.kit import trace
from gateway.kit.later import Later
from gateway.kit.money import with_symbol
from gateway.kit.trace import Sampler, Trace
from gateway.metering import metrics
from gateway.metering.endings import Ending, Line, facts_of
from gateway.metering.tallies import Tallies
from gateway.metering.watch import Stage, Watch
from gateway.types import Receipt

# What a stranger may make one line grow by.
PATH_CHARACTERS_MAX = 512
# A process that met more publishers than this counts further ones together; see the supervisor for the label.
NAMES_MAX = 10_000

FLUSH_SECONDS = 0.05
WAITING_MAX = 1000
ANSWERED = "call.answered"
CLASSES: dict[int | None, str] = {status: f"{status // 100}xx" for status in range(100, 1000)}

Write: TypeAlias = Callable[[Mapping[str, Any]], None]


@lru_cache(maxsize=1024)
def refusals(slug: str) -> Counter:
    """Finding a counter by its labels takes longer than counting."""
    return metrics.REFUSALS.labels(slug)


class Spans(Protocol):
    """Where spans go, when OpenTelemetry is set up."""

    @property
    def sampler(self) -> Sampler: ...

    def export(self, watch: Watch, seconds: float, line: Mapping[str, Any]) -> None: ...


class Reporter:
    """One for each process. ``write`` takes a line; None keeps the log to what went wrong.

    ``offered`` is told the publisher of each call that was answered with a price.
    """

    def __init__(
        self, write: Write | None, failed: Write, offered: Callable[[UUID], None], spans: Spans | None = None
    ) -> None:
        self.write = write
        self.failed = failed
        """For lines that are written whatever the settings: bugs."""
        self.offered = offered
        self.spans = spans
        self.names: set[str] = set()
        # Finding a counter by its labels takes longer than counting.
        self.calls: dict[tuple[str, str, str, str], Any] = {}
        self.tallies = Tallies()
        self.waiting: list[Watch] = []
        """Calls that have ended and of which nothing was said yet."""
        self.flushing = Later(self.flush)

    def begin(self, call_id: UUID, wording: Wording) -> Watch:
        headers, own_trace = wording.heading.headers, None
        if self.spans is not None or trace.PARENT in headers:
            own_trace = trace.of(headers, call_id, None if self.spans is None else self.spans.sampler)
        tallies = self.tallies
        tallies.under_way += 1
        if not tallies.flushing.is_set:
            tallies.flush_soon()
        return Watch(call_id, wording.method, wording.path, own_trace, tallies.count)

    def end(self, watch: Watch) -> None:
        watch.ended = perf_counter_ns()
        self.tallies.under_way -= 1
        self.waiting.append(watch)
        if watch.error is not None or self.spans is not None or len(self.waiting) >= WAITING_MAX:
            self.flush()
        elif not self.flushing.is_set:
            self.flushing.within(FLUSH_SECONDS)

    def flush(self) -> None:
        """Say what there is to say of the calls that have ended since the last time."""
        self.flushing.cancel()
        ended, self.waiting = self.waiting, []
        since = time_ns() - perf_counter_ns()
        alike: dict[tuple[Stage, ...], list[tuple[Watch, Ending]]] = {}
        for watch in ended:
            ending = self.ending_of(watch)
            self.tallies.add(ending.counters)
            if ending.offered is not None:
                self.offered(ending.offered)
            alike.setdefault(ending.stages, []).append((watch, ending))
        for stages, told in alike.items():
            watches = [watch for watch, _ in told]
            spent = spent_of(watches)
            self.time(stages, spent, watches)
            for (watch, ending), *of_stages in zip(told, *map(milliseconds, spent), strict=True):
                self.say(watch, ending, of_stages, since)
        self.tallies.flush_soon()

    def ending_of(self, watch: Watch) -> Ending:
        """Of a usual call it is kept with what is known of its head."""
        known = watch.known
        if known is None or not watch.is_recalled or watch.is_unusual:
            return self.find_ending(watch)
        facts = facts_of(watch)
        ending = known.endings.get(facts)
        return known.keep(facts, self.find_ending(watch)) if ending is None else ending

    def time(self, stages: Sequence[str], spent: Sequence[list[int]], watches: Sequence[Watch]) -> None:
        """A conversation has no latency, nor its last stage: it lasts as long as its sides want it to."""
        latencies = [watch.ended - watch.entered[0] for watch in watches if not watch.is_socket]
        self.tallies.calls.extend(latencies)
        for stage, column in zip(stages, spent, strict=True):
            if stage == "relay" and len(latencies) < len(watches):
                column = [one for one, watch in zip(column, watches, strict=True) if not watch.is_socket]
            self.tallies.time(stage, column)

    def say(self, watch: Watch, ending: Ending, of_stages: Sequence[float], since: int) -> None:
        is_traced = self.spans is not None and watch.trace is not None and watch.trace.is_sampled
        if self.write is None and not is_traced and watch.error is None:
            return
        if ending.line is None:
            line = ending.line = line_of(watch, ending.stages, of_stages, since)
        else:
            line = ending.line.copy()
            line["call_id"] = watch.call_id
            add_times(line, watch, ending.stages, of_stages, since)
        if watch.error is not None:
            self.failed(line)
        elif self.write is not None:
            self.write(line)
        if self.spans is not None and is_traced:
            self.spans.export(watch, line["ms"] / 1000, line)

    def find_ending(self, watch: Watch) -> Ending:
        status = CLASSES.get(watch.status) or "none"
        key = (self.label_of(watch), watch.rail or "none", watch.outcome, status)
        counter = self.calls.get(key)
        if counter is None:
            counter = self.calls[key] = metrics.CALLS.labels(*key)
        counters, offered = [counter], None
        if watch.error is not None:
            counters.append(metrics.ERRORS)
        elif watch.broken is not None:
            counters.append(metrics.BROKEN.labels("caller" if watch.broken == "hung_up" else "upstream"))
        elif watch.refusal is not None:
            counters.append(refusals(watch.refusal.slug))
            if watch.status == 402 and watch.match is not None:
                offered = watch.match.route.publisher_id
        return Ending(watch.stages, counters, offered)

    def label_of(self, watch: Watch) -> str:
        """A slug that is published. What a caller made up never becomes a label."""
        if watch.match is None:
            return "none"
        slug = watch.match.route.slug
        if slug in self.names:
            return slug
        if len(self.names) >= NAMES_MAX:
            return "other"
        self.names.add(slug)
        return slug

    def close(self) -> None:
        self.flush()
        self.tallies.flush()


def spent_of(watches: Sequence[Watch]) -> list[list[int]]:
    """What each stage took in each of the calls, which came equally far, in nanoseconds.

    All calls at once: one by one it was a tenth of what a call costs.
    """
    moments = [*zip(*[watch.entered for watch in watches], strict=True), [watch.ended for watch in watches]]
    return [list(map(sub, after, before)) for before, after in pairwise(moments)]


def milliseconds(spent: Sequence[int]) -> list[float]:
    return [one // 1000 / 1000 for one in spent]


def line_of(watch: Watch, stages: Sequence[str], of_stages: Sequence[float], since: int = 0) -> Line:
    """What there is to say; what is not known of the call is left out.

    ``of_stages`` are milliseconds, and ``since`` is when the clock of the watch began, since the epoch.
    """
    line: Line = {
        "timestamp": None,
        "level": "info" if watch.error is None else "error",
        "event": ANSWERED if (ending := watch.ending) == "answered" else f"call.{ending}",
        "call_id": watch.call_id,
        **(known_of(watch) if watch.known is None else watch.known.line),
        "outcome": watch.outcome,
    }
    if watch.first_call_id is not None:
        line["first_call_id"] = watch.first_call_id
    if watch.status is not None:
        line["status"] = watch.status
    if (hold := watch.hold) is not None:
        line["rail"] = hold.event.rail
        if hold.event.payer is not None:
            line["payer"] = hold.event.payer
    if (receipt := watch.receipt) is not None and receipt.asset is not None:
        add_money(line, receipt)
    if watch.refusal is not None or watch.error is not None:
        add_end(line, watch)
    if watch.trace is not None:
        add_trace(line, watch.trace)
    line["stage"] = stages[-1]
    add_times(line, watch, stages, of_stages, since)
    return line


def add_times(
    line: Line, watch: Watch, stages: Sequence[str], of_stages: Sequence[float], since: int
) -> None:
    """What is another in each line."""
    line["timestamp"] = datetime.fromtimestamp((since + watch.ended) / 1e9, UTC)
    line["ms"] = (watch.ended - watch.entered[0]) // 1000 / 1000
    line["stages_ms"] = dict(zip(stages, of_stages, strict=True))


def known_of(watch: Watch) -> Line:
    """What is said of each call with the same request and caller, as far as it came."""
    known: Line = {"method": watch.method, "path": plain(watch.path[:PATH_CHARACTERS_MAX])}
    if watch.match is not None:
        known["publisher"] = watch.match.route.slug
        if watch.match.endpoint is not None:
            known["endpoint"] = "/" + "/".join(watch.match.endpoint.segments)
    if watch.caller is not None and watch.caller.organization_id is not None:
        known["organization_id"] = watch.caller.organization_id
        known["key_id"] = watch.caller.key_id
    return known


def add_money(line: Line, receipt: Receipt) -> None:
    asset = receipt.asset
    if asset is None or receipt.cost is None:
        # Its body decides, and it broke off before that.
        return
    line["charged"] = with_symbol(receipt.cost, asset.decimals, asset.symbol)
    # As text: many readers of JSON take a number of more than 53 bits for another one.
    line["charged_atomic"] = str(receipt.cost)
    line["network"] = asset.network


def add_trace(line: Line, own: Trace) -> None:
    line["trace_id"] = own.trace_id
    line["span_id"] = own.span_id
    if own.parent_id is not None:
        line["parent_id"] = own.parent_id


def add_end(line: Line, watch: Watch) -> None:
    if watch.refusal is not None:
        line["problem"] = watch.refusal.slug
        # A 402's own word for what is wrong with a payment.
        if error := getattr(watch.refusal, "error", None):
            line["error"] = error
    if watch.error is not None:
        line["exception"] = plain("".join(traceback.format_exception(watch.error)))


def plain(text: str) -> str:
    """Text that can be written down: bytes of a request that are not UTF-8 arrive as surrogates."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()
