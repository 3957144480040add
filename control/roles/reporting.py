"""Where a process says what became of its calls, as the settings want it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from typing import Any
from uuid import UUID

import structlog

from config.logging import is_for_people
from config.settings import Settings
from gateway.kit.sql import Pool
from gateway.kit.tasks import Crew
from gateway.metering import gauges
from gateway.metering.endings import Ended
from gateway.metering.endings import lines as lines_of
from gateway.metering.lines import Lines
from gateway.metering.report import Reporter
from gateway.metering.usage import Recorder
from gateway.upstreams.http import HttpUpstreams
from gateway.upstreams.load import Loads

log = structlog.get_logger(__name__)


@asynccontextmanager
async def reporting(settings: Settings, offered: Callable[[UUID, int], None]) -> AsyncIterator[Reporter]:
    async with AsyncExitStack() as stack:
        spans = tracing(settings)
        if spans is not None:
            stack.push_async_callback(asyncio.to_thread, spans.close)
        written: Lines | ForPeople = ForPeople()
        if not is_for_people(settings.log_format):
            written = Lines()
            stack.callback(written.flush)
        is_logged = settings.log_calls and settings.log_level in ("debug", "info")
        reporter = Reporter(written if is_logged else None, written.add, offered, spans)
        stack.callback(reporter.close)
        yield reporter


@asynccontextmanager
async def looking(
    pools: Sequence[Pool], http: HttpUpstreams, recorder: Recorder, loads: Loads
) -> AsyncIterator[None]:
    """Keep the gauges of a gateway's process true while the block runs."""
    crew = Crew()
    crew.start(gauges.look_forever(pools, http, recorder, loads))
    try:
        yield
    finally:
        await crew.close()


class ForPeople:
    """A log for people, who read slower than calls are made."""

    def tell(self, calls: Ended) -> None:
        for line in lines_of(calls):
            self.add(line)

    def add(self, line: Mapping[str, Any]) -> None:
        said = {name: value for name, value in line.items() if name not in ("timestamp", "level", "event")}
        log.log(logging.getLevelNamesMapping()[line["level"].upper()], line["event"], **said)


def tracing(settings: Settings) -> Any:
    """None unless somebody wants spans. By name, because OpenTelemetry is an extra."""
    if not settings.otel.is_on:
        return None
    try:
        return import_module("gateway.metering.otel").OtelSpans(settings.otel)
    except ImportError:
        log.warning("otel.absent", advice="pip install 'farebox[otel]', or unset OTEL_EXPORTER_OTLP_ENDPOINT")
        return None
