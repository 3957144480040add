"""Spans as a collector receives them, over OTLP."""

import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from pydantic import SecretStr

from config.opentelemetry import OpenTelemetry
from config.settings import Settings
from control.roles.reporting import reporting
from gateway.kit import ids
from gateway.kit.trace import Trace
from gateway.metering.watch import Watch
from gateway.types import Match
from tests.gateway.routes import route

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    url = ""

    def __init__(self) -> None:
        self.seen: list[tuple[str, ExportTraceServiceRequest]] = []

    async def take(self, request: web.Request) -> web.Response:
        message = ExportTraceServiceRequest()
        message.ParseFromString(await request.read())
        self.seen.append((request.headers.get("api-key", ""), message))
        return web.Response(body=b"", content_type="application/x-protobuf")


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield collector
    await runner.cleanup()


def ended(flags: int) -> Watch:
    matched = Match(route(), None, None, "http://x")
    watch = Watch(
        ids.new(), "GET", "/publishers/weather/now", Trace(TRACE, SPAN, "1" * 16, flags), match=matched
    )
    watch.enter("admit")
    watch.enter("match")
    watch.status = 502
    return watch


async def test_a_recorded_call_is_a_span_of_the_callers_trace(collector: Collector) -> None:
    otel = OpenTelemetry(
        exporter_otlp_endpoint=collector.url, exporter_otlp_headers=SecretStr("api-key=se%20cret, other=1")
    )
    async with reporting(Settings(log_calls=False, otel=otel), lambda publisher_id, times: None) as reporter:
        reporter.end(ended(flags=1))
        reporter.end(ended(flags=0))
    ((key, message),) = collector.seen
    assert key == "se cret"
    (resource,) = message.resource_spans
    (span,) = resource.scope_spans[0].spans
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.span_id.hex()) == (TRACE, SPAN, "1" * 16)
    assert span.name == "GET weather"
    found = {one.key: one.value for one in span.attributes}
    assert found["http.response.status_code"].int_value == 502
    assert found["farebox.publisher"].string_value == "weather"
    assert 0 <= time.time_ns() - span.end_time_unix_nano < 60 * 10**9
    names = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert names["service.name"] == "farebox"


SAMPLES = f"{'0' * 16}{'4' + '0' * 15}"


@pytest.mark.parametrize(
    ("sampler", "share", "parent", "is_kept"),
    [
        ("parentbased_always_on", 1.0, None, True),
        ("parentbased_always_on", 1.0, False, False),      # whoever began the trace decided
        ("parentbased_always_off", 1.0, True, True),
        ("always_on", 1.0, False, True),                   # unless told otherwise
        ("always_off", 1.0, True, False),
        ("parentbased_traceidratio", 0.2, None, False),    # this id is a quarter of the way up
        ("parentbased_traceidratio", 0.3, None, True),
        ("traceidratio", 0.3, False, True),
    ],
)  # fmt: skip
async def test_the_standard_samplers_decide(
    collector: Collector, sampler: str, share: float, parent: bool | None, is_kept: bool
) -> None:
    otel = OpenTelemetry.model_validate(
        {
            "exporter_otlp_traces_endpoint": f"{collector.url}/v1/traces",
            "traces_sampler": sampler,
            "traces_sampler_arg": share,
        }
    )
    async with reporting(Settings(otel=otel), lambda publisher_id, times: None) as reporter:
        assert reporter.spans is not None
        assert reporter.spans.sampler(SAMPLES, parent) == is_kept


async def test_without_an_endpoint_nothing_is_recorded() -> None:
    async with reporting(Settings(otel=OpenTelemetry()), lambda publisher_id, times: None) as reporter:
        assert reporter.spans is None


def test_the_standards_own_variables_are_read_and_go_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example:4318/")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "gateway-7")
    otel = Settings.model_validate({"otel": {"service_name": "from the file"}}).otel
    assert (otel.is_on, otel.service_name) == (True, "gateway-7")
    assert otel.traces_endpoint == "http://collector.example:4318/v1/traces"
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not Settings().otel.is_on
