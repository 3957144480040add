"""What is said of a call at its end, whatever end that is: a line in the log, the metrics, a span.

Never a secret, a query or a payment. How a call ended is looked up at once, so that nothing else of it is
kept; calls that end within a moment are counted, timed and written down together, in columns, so that what is
said of them costs a part of what it would cost between two calls.
"""

import collections
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from time import perf_counter_ns, time_ns
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from prometheus_client import Counter

from gateway.front.arrived import Wording
from gateway.kit import trace
from gateway.kit.later import Later
from gateway.kit.money import with_symbol
from gateway.kit.trace import Sampler, Trace
from gateway.metering import endings, metrics
from gateway.metering.endings import Alike, Ended, Ending, Line, Row, facts_of
from gateway.metering.tallies import Tallies
from gateway.metering.watch import Known, Stage, Watch
from gateway.types import Receipt

# What a stranger may make one line grow by.
PATH_CHARACTERS_MAX = 512
# A process that met more publishers than this counts further ones together; see the supervisor for the label.
NAMES_MAX = 10_000

FLUSH_SECONDS = 0.05
WAITING_MAX = 1000
# Who buys by use ends up with another charge each time.
ENDINGS_MAX = 1024
ANSWERED = "call.answered"
CLASSES: dict[int | None, str] = {status: f"{status // 100}xx" for status in range(100, 1000)}

Write: TypeAlias = Callable[[Mapping[str, Any]], None]


@lru_cache(maxsize=1024)
def refusals(slug: str) -> Counter:
    """Finding a counter by its labels takes longer than counting."""
    return metrics.REFUSALS.labels(slug)


class Log(Protocol):
    """Where the lines of calls go, in whatever form it has them."""

    def tell(self, calls: Ended) -> None: ...


class Spans(Protocol):
    """Where spans go, when OpenTelemetry is set up."""

    @property
    def sampler(self) -> Sampler: ...

    def export(self, watch: Watch, seconds: float, line: Mapping[str, Any]) -> None: ...


class Reporter:
    """One for each process. Without a ``log`` only what went wrong is written.

    ``offered`` is told the publisher of calls that were answered with a price, and how many they were.
    """

    def __init__(
        self,
        log: Log | None,
        failed: Write,
        offered: Callable[[UUID, int], None],
        spans: Spans | None = None,
    ) -> None:
        self.log = log
        self.failed = failed
        """For lines that are written whatever the settings: bugs."""
        self.offered = offered
        self.spans = spans
        self.names: set[str] = set()
        # Finding a counter by its labels takes longer than counting.
        self.calls: dict[tuple[str, str, str, str], Any] = {}
        self.endings: dict[tuple[Any, ...] | None, Ending] = {}
        """Found out before."""
        self.tallies = Tallies()
        self.count = self.tallies.count
        self.waiting: dict[tuple[tuple[Stage, ...], bool, bool], Alike] = {}
        """Calls that have ended and of which nothing was said yet."""
        self.flushing = Later(self.flush)

    def begin(self, call_id: UUID, wording: Wording) -> Watch:
        headers, own_trace = wording.heading.headers, None
        if self.spans is not None or trace.PARENT in headers:
            own_trace = trace.of(headers, call_id, None if self.spans is None else self.spans.sampler)
        tallies = self.tallies
        tallies.under_way += 1
        if tallies.flushing.handle is None:
            tallies.flush_soon()
        return Watch(call_id, wording.method, wording.path, own_trace, self.count)

    def end(self, watch: Watch) -> None:
        moment = perf_counter_ns()
        self.tallies.under_way -= 1
        facts = facts_of(watch)
        ending = self.endings.get(facts) or self.find_ending(watch, facts)
        entered, alike = watch.entered, ending.alike
        entered.append(moment)
        row = ending, watch.call_id, watch.known or Known(known_of(watch)), watch.payer, entered
        if not alike.rows:
            self.flushing.within(FLUSH_SECONDS)
        alike.rows.append(row)
        if self.spans is not None and watch.trace is not None and watch.trace.is_sampled:
            (line,) = endings.lines(endings.ended(alike, [row], time_ns() - perf_counter_ns()))
            self.spans.export(watch, line["ms"] / 1000, line)
        if alike.is_failed or len(alike.rows) >= WAITING_MAX:
            self.flush()

    def flush(self) -> None:
        """Say what there is to say of the calls that have ended since the last time."""
        self.flushing.cancel()
        since = time_ns() - perf_counter_ns()
        for alike in self.waiting.values():
            if alike.rows:
                rows, alike.rows = alike.rows, []
                self.say(alike, rows, since)
        self.tallies.flush_soon()

    def say(self, alike: Alike, rows: Sequence[Row], since: int) -> None:
        calls = endings.ended(alike, rows, since)
        for ending, times in collections.Counter(calls.endings).items():
            self.tallies.add(ending.counters, times)
            if ending.offered is not None:
                self.offered(ending.offered, times)
        self.tallies.time(calls, is_socket=alike.is_socket)
        if alike.is_failed:
            for line in endings.lines(calls):
                self.failed(line)
        elif self.log is not None:
            self.log.tell(calls)

    def find_ending(self, watch: Watch, facts: tuple[Any, ...] | None) -> Ending:
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
        is_told = self.log is not None or self.spans is not None or watch.error is not None
        ending = Ending(self.alike_of(watch), counters, offered, line_of(watch) if is_told else None)
        if facts is not None:
            if len(self.endings) >= ENDINGS_MAX:
                self.endings.clear()
            self.endings[facts] = ending
        return ending

    def alike_of(self, watch: Watch) -> Alike:
        key = watch.stages, watch.is_socket, watch.error is not None
        alike = self.waiting.get(key)
        if alike is None:
            stages, is_socket, is_failed = key
            alike = self.waiting[key] = Alike(stages, is_socket=is_socket, is_failed=is_failed)
        return alike

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


def line_of(watch: Watch) -> Line:
    """What there is to say of how a call ended; what is not known of it is left out. ``endings`` adds what is
    known of its head, and fills in what is another in each line and None here.
    """
    line: Line = {
        "timestamp": None,
        "level": "info" if watch.error is None else "error",
        "event": ANSWERED if (ending := watch.ending) == "answered" else f"call.{ending}",
        "call_id": None,
        "outcome": watch.outcome,
    }
    if watch.first_call_id is not None:
        line["first_call_id"] = watch.first_call_id
    if watch.status is not None:
        line["status"] = watch.status
    if watch.rail is not None:
        line["rail"] = watch.rail
    if watch.payer is not None:
        line["payer"] = None
    if (receipt := watch.receipt) is not None and receipt.asset is not None:
        add_money(line, receipt)
    if watch.refusal is not None or watch.error is not None:
        add_end(line, watch)
    if watch.trace is not None:
        add_trace(line, watch.trace)
    return line | {"stage": watch.stages[-1], "ms": None, "stages_ms": None}


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
