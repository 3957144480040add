"""What is said of a call at its end, whatever end that is: a line in the log, the metrics, a span.

Never a secret, a query or a payment. The line has what it costs to write it: a dictionary and one encoding.
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import repeat
from operator import floordiv, truediv
from time import perf_counter_ns
from typing import Any, Protocol, TypeAlias
from uuid import UUID

from aiohttp import web
from prometheus_client import Counter

from gateway.kit import trace
from gateway.kit.money import to_text
from gateway.kit.trace import Sampler
from gateway.metering import metrics
from gateway.metering.tallies import Tallies
from gateway.metering.watch import Watch
from gateway.types import Receipt

# What a stranger may make one line grow by.
PATH_CHARACTERS_MAX = 512
# A process that met more publishers than this counts further ones together; see the supervisor for the label.
NAMES_MAX = 10_000

THOUSAND = repeat(1000)

Line: TypeAlias = dict[str, Any]
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

    def begin(self, call_id: UUID, request: web.BaseRequest) -> Watch:
        sampler = None if self.spans is None else self.spans.sampler
        own_trace = trace.of(request.headers, call_id, sampler)
        self.tallies.begun()
        return Watch(call_id, request.method, request.rel_url.raw_path, own_trace, self.tallies.count)

    def end(self, watch: Watch) -> None:
        ended = perf_counter_ns()
        spent = watch.durations(ended)
        self.count(watch)
        self.tallies.time(watch.stages, spent, is_socket=watch.is_socket)
        self.tallies.ended()
        is_traced = self.spans is not None and watch.trace is not None and watch.trace.is_sampled
        if self.write is None and not is_traced and watch.error is None:
            return
        line = line_of(watch, spent)
        if watch.error is not None:
            self.failed(line)
        elif self.write is not None:
            self.write(line)
        if self.spans is not None and is_traced:
            self.spans.export(watch, sum(spent) / 1e9, line)

    def count(self, watch: Watch) -> None:
        status = "none" if watch.status is None else f"{watch.status // 100}xx"
        key = (self.label_of(watch), watch.rail or "none", watch.outcome, status)
        counter = self.calls.get(key)
        if counter is None:
            counter = self.calls[key] = metrics.CALLS.labels(*key)
        self.tallies.count(counter)
        if watch.error is not None:
            metrics.ERRORS.inc()
        elif watch.broken is not None:
            metrics.BROKEN.labels("caller" if watch.broken == "hung_up" else "upstream").inc()
        elif watch.refusal is not None:
            self.tallies.count(refusals(watch.refusal.slug))
            if watch.status == 402 and watch.match is not None:
                self.offered(watch.match.route.publisher_id)

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
        self.tallies.flush()


def line_of(watch: Watch, spent: Sequence[int]) -> Line:
    """What there is to say; what is not known of the call is left out. ``spent`` is its ``durations``."""
    line: Line = {
        "timestamp": datetime.now(UTC),
        "level": "info" if watch.error is None else "error",
        "event": f"call.{watch.ending}",
        "call_id": watch.call_id,
        "method": watch.method,
        "path": plain(watch.path[:PATH_CHARACTERS_MAX]),
        "outcome": watch.outcome,
    }
    if watch.first_call_id is not None:
        line["first_call_id"] = watch.first_call_id
    if watch.status is not None:
        line["status"] = watch.status
    add_route(line, watch)
    add_caller(line, watch)
    if watch.receipt is not None:
        add_money(line, watch.receipt)
    add_end(line, watch)
    if watch.trace is not None:
        line["trace_id"] = watch.trace.trace_id
        line["span_id"] = watch.trace.span_id
        if watch.trace.parent_id is not None:
            line["parent_id"] = watch.trace.parent_id
    stages = watch.stages
    line["stage"] = stages[-1]
    line["ms"] = sum(spent) // 1000 / 1000
    # All at once: one by one it was a tenth of what a call costs.
    milliseconds = map(truediv, map(floordiv, spent, THOUSAND), THOUSAND)
    line["stages_ms"] = dict(zip(stages, milliseconds, strict=False))
    return line


def add_route(line: Line, watch: Watch) -> None:
    if watch.match is not None:
        line["publisher"] = watch.match.route.slug
        if watch.match.endpoint is not None:
            line["endpoint"] = "/" + "/".join(watch.match.endpoint.segments)


def add_caller(line: Line, watch: Watch) -> None:
    caller, hold = watch.caller, watch.hold
    if caller is not None and caller.organization_id is not None:
        line["organization_id"] = caller.organization_id
        line["key_id"] = caller.key_id
    if hold is not None:
        line["rail"] = hold.event.rail
        if hold.event.payer is not None:
            line["payer"] = hold.event.payer


def add_money(line: Line, receipt: Receipt) -> None:
    asset = receipt.asset
    if asset is None or receipt.cost is None:
        return
    line["charged"] = f"{to_text(receipt.cost, asset.decimals)} {asset.symbol}"
    # As text: many readers of JSON take a number of more than 53 bits for another one.
    line["charged_atomic"] = str(receipt.cost)
    line["network"] = asset.network


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
