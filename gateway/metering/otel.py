"""Spans for OpenTelemetry, with the extra ``otel``: one for each call, made when the call has ended.

The call itself only decides, at its start, whether its trace is recorded, because its upstream is told. The
SDK's own thread sends what was recorded; a collector that is away costs spans and nothing else.
"""

import time
from collections.abc import Mapping
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from config.opentelemetry import OpenTelemetry
from gateway.metering.watch import Watch

SCOPE = InstrumentationScope("farebox")
TIMEOUT_SECONDS = 5
NANOSECONDS = 1_000_000_000
# The span says these itself.
NOT_ATTRIBUTES = frozenset(
    {"timestamp", "level", "event", "trace_id", "span_id", "parent_id", "ms", "stages_ms"}
)
STANDARD = {"method": "http.request.method", "status": "http.response.status_code", "path": "url.path"}


class OtelSpans:
    def __init__(self, settings: OpenTelemetry) -> None:
        self.settings = settings
        self.resource = Resource.create({"service.name": settings.service_name})
        exporter = OTLPSpanExporter(
            endpoint=settings.traces_endpoint, headers=settings.headers, timeout=TIMEOUT_SECONDS
        )
        self.processor = BatchSpanProcessor(exporter)

    def sampler(self, trace_id: str, parent: bool | None) -> bool:  # noqa: FBT001 - the shape of a Sampler
        """The standard's samplers: whoever began a trace decided for all of it, unless told otherwise."""
        name = self.settings.traces_sampler
        if parent is not None and name.startswith("parentbased_"):
            return parent
        ratio = {"always_on": 1.0, "always_off": 0.0}.get(
            name.removeprefix("parentbased_"), self.settings.traces_sampler_arg
        )
        # As every SDK does it, so that all of them keep the same traces.
        return int(trace_id[16:], 16) < round(ratio * 2**64)

    def export(self, watch: Watch, seconds: float, line: Mapping[str, Any]) -> None:
        assert watch.trace is not None, "only calls with a trace are recorded"
        own = watch.trace
        ended = time.time_ns()
        trace_id, flags = int(own.trace_id, 16), TraceFlags(own.flags)
        parent = None
        if own.parent_id is not None:
            parent = SpanContext(trace_id, int(own.parent_id, 16), is_remote=True, trace_flags=flags)
        is_bad = watch.error is not None or (watch.status or 0) >= 500
        span = ReadableSpan(
            name=f"{watch.method} {line.get('publisher', 'unknown')}",
            context=SpanContext(trace_id, int(own.span_id, 16), is_remote=False, trace_flags=flags),
            parent=parent,
            resource=self.resource,
            attributes=attributes(line),
            kind=SpanKind.SERVER,
            status=Status(StatusCode.ERROR if is_bad else StatusCode.UNSET),
            start_time=ended - int(seconds * NANOSECONDS),
            end_time=ended,
            instrumentation_scope=SCOPE,
        )
        self.processor.on_end(span)

    def close(self) -> None:
        """Send what is left. Waits for the network: not in the event loop."""
        self.processor.shutdown()  # type: ignore[no-untyped-call]


def attributes(line: Mapping[str, Any]) -> dict[str, str | int]:
    found: dict[str, str | int] = {}
    for name, value in line.items():
        if name not in NOT_ATTRIBUTES:
            found[STANDARD.get(name, f"farebox.{name}")] = value if isinstance(value, int) else str(value)
    for name, spent in line.get("stages_ms", {}).items():
        found[f"farebox.stage.{name}_us"] = int(spent * 1000)
    return found
