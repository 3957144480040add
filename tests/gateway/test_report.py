"""What is said of a call at its end."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from gateway.kit import ids
from gateway.metering import report
from gateway.metering.report import NAMES_MAX, PATH_CHARACTERS_MAX, Reporter, known_of, line_of
from gateway.metering.watch import Known, Watch
from gateway.types import Match
from tests.gateway.routes import route


def watch(path: str = "/publishers/weather/now", **more: Any) -> Watch:
    one = Watch(ids.new(), "GET", path, None, **more)
    one.enter("admit")
    return one


@pytest.mark.parametrize("path", ["/publishers/\udcff\udcfe", "/publishers/" + "é" * 9000, "/" + "y" * 9000])
def test_whatever_a_caller_sends_can_be_written_down(path: str) -> None:
    written = Known(known_of(watch(path))).text
    text = msgspec.json.decode(f"{{{written}}}")["path"]
    assert len(text) <= PATH_CHARACTERS_MAX


def test_a_call_that_was_given_up_before_an_answer_is_abandoned() -> None:
    line = line_of(watch())
    assert (line["event"], line["outcome"], "status" in line) == ("call.cancelled", "abandoned", False)


async def test_names_of_publishers_are_bounded_and_never_made_up_by_a_caller() -> None:
    reporter = Reporter(None, lambda line: None, lambda publisher_id, times: None)
    reporter.names = {f"p{number}" for number in range(NAMES_MAX - 1)}
    matched = Match(route(), None, None, "http://x")
    assert reporter.label_of(watch()) == "none"
    assert reporter.label_of(watch(match=matched)) == "weather"
    later = replace(matched, route=replace(matched.route, slug="later"))
    assert reporter.label_of(watch(match=later)) == "other"


async def test_a_stage_is_told_with_all_its_calls_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"farebox_stage_seconds_{name}", {"stage": "price", **labels}) or 0

    reporter = Reporter(None, lambda line: None, lambda publisher_id, times: None)
    before = told("count"), told("sum"), told("bucket", le="0.005"), told("bucket", le="+Inf")
    for seconds in (0.001, 0.003, 0.02, 100.0):
        one, moment = watch(), 5 + int(seconds * 1e9)
        one.order, one.entered = ("limit", "price"), [0, 5]
        monkeypatch.setattr(report, "perf_counter_ns", lambda moment=moment: moment)
        reporter.end(one)
    reporter.close()
    assert told("count") - before[0] == 4
    assert told("sum") - before[1] == pytest.approx(100.024)
    assert told("bucket", le="0.005") - before[2] == 2
    assert told("bucket", le="+Inf") - before[3] == 4
