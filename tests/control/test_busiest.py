"""Which publishers have a name in the metrics."""

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.registry import Collector

from control.supervisor.busiest import HALF_LIFE_SECONDS, Busiest


class Counted(Collector):
    """What processes have counted so far, by publisher."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}

    def collect(self) -> Iterator[Metric]:
        calls = Metric("farebox_calls", "Calls.", "counter")
        for name, count in self.calls.items():
            calls.add_sample("farebox_calls_total", {"publisher": name, "rail": "free"}, count)
        yield calls
        errors = Metric("farebox_errors", "Errors.", "counter")
        errors.add_sample("farebox_errors_total", {}, 3)
        yield errors


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def scrape(busiest: Busiest) -> dict[str, float]:
    calls, errors = busiest.collect()
    assert errors.samples[0].value == 3
    return {sample.labels["publisher"]: sample.value for sample in calls.samples}


def test_the_busiest_have_names_whoever_came_first() -> None:
    counted = Counted()
    busiest = Busiest(counted, names_max=2)
    counted.calls = {"first": 1, "second": 2, "third": 50, "fourth": 60}
    assert scrape(busiest) == {"third": 50, "fourth": 60, "other": 3}


def test_a_newly_busy_one_takes_the_place_of_the_least_busy_and_no_count_goes_down() -> None:
    counted, clock = Counted(), Clock()
    busiest = Busiest(counted, names_max=2, clock=clock)
    counted.calls = {"a": 100, "b": 50, "c": 10}
    before = scrape(busiest)
    assert before == {"a": 100, "b": 50, "other": 10}
    clock.now = HALF_LIFE_SECONDS
    counted.calls = {"a": 101, "b": 51, "c": 110}
    after = scrape(busiest)
    # What was counted under "other" stays there; b's next call will be counted there too.
    assert after == {"a": 101, "c": 100, "other": 11}
    counted.calls["b"] += 1
    assert scrape(busiest)["other"] == 12


def test_hardly_busier_is_not_enough() -> None:
    counted = Counted()
    busiest = Busiest(counted, names_max=1)
    counted.calls = {"a": 100, "b": 90}
    assert set(scrape(busiest)) == {"a", "other"}
    counted.calls["b"] = 110
    assert set(scrape(busiest)) == {"a", "other"}
    counted.calls["b"] = 130
    assert set(scrape(busiest)) == {"b", "other"}


def test_calls_that_found_no_publisher_do_not_take_a_name() -> None:
    counted = Counted()
    busiest = Busiest(counted, names_max=1)
    counted.calls = {"none": 1000, "other": 500, "a": 1}
    assert scrape(busiest) == {"none": 1000, "other": 500, "a": 1}
    assert scrape(busiest) == {"none": 1000, "other": 500, "a": 1}
