"""When an upstream is left alone, and how it is found out that it is back."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from config.settings import Upstream
from gateway.protect import UpstreamBusy, UpstreamResting, protect
from gateway.types import Head, Inbound, Match
from gateway.upstreams import load
from gateway.upstreams.exchange import UpstreamImproper, UpstreamTimeout, UpstreamUnreachable
from gateway.upstreams.load import Loads
from gateway.x402.intake import PaymentInProgress
from tests.gateway import routes


class Clock:
    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(load, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def loads(clock: Clock) -> Loads:
    return Loads(Upstream(breaker_failures=3, breaker_seconds=10, calls_per_publisher=2))


def inbound(*, is_whole: bool = True) -> Inbound:
    body: Any = SimpleNamespace(is_whole=is_whole)
    return replace(routes.inbound(), body=body)


MATCH = Match(routes.route(), None, None, "https://api.example/v1/now")


def call(loads: Loads, ending: int | Exception, *, is_whole: bool = True) -> None:
    """A call that gets an answer, or ends before it."""
    turn = protect(loads, inbound(is_whole=is_whole), MATCH)
    turn.__enter__()
    if isinstance(ending, Exception):
        turn.__exit__(type(ending), ending, None)
    else:
        turn.answered(Head(ending, "", CIMultiDictProxy(CIMultiDict())))
        turn.__exit__(None, None, None)


GONE = UpstreamUnreachable("gone")
# What ends a call before its upstream is asked.
UNPAID = PaymentInProgress("again")


@pytest.mark.parametrize("failure", [GONE, UpstreamTimeout("late"), 502, 503, 504])
def test_failures_in_a_row_open_it(loads: Loads, failure: int | Exception) -> None:
    for _ in range(3):
        call(loads, failure)
    with pytest.raises(UpstreamResting) as caught:
        call(loads, 200)
    assert caught.value.headers == {"Retry-After": "10"}


def test_an_answer_that_cannot_be_read_leaves_it_closed(loads: Loads) -> None:
    for _ in range(5):
        call(loads, UpstreamImproper("its head is too large"))
    call(loads, 200)


@pytest.mark.parametrize("ending", [200, 404, 429, 500])
def test_any_other_answer_between_them_keeps_it_closed(loads: Loads, ending: int) -> None:
    for _ in range(5):
        call(loads, GONE)
        call(loads, GONE)
        call(loads, ending)


@pytest.mark.parametrize(("ending", "is_whole"), [(UNPAID, True), (RuntimeError(), True), (GONE, False)])
def test_what_is_not_the_upstreams_fault_does_not_count(
    loads: Loads, ending: Exception, is_whole: bool
) -> None:
    for _ in range(10):
        call(loads, ending, is_whole=is_whole)
    call(loads, 200)


def test_after_its_rest_one_call_tries_and_the_others_wait_for_it(loads: Loads, clock: Clock) -> None:
    for _ in range(3):
        call(loads, GONE)
    clock.now += 10
    with protect(loads, inbound(), MATCH) as trial:
        with pytest.raises(UpstreamResting):
            call(loads, 200)
        trial.answered(Head(200, "", CIMultiDictProxy(CIMultiDict())))
        # Not only when the body has ended.
        call(loads, 200)
    call(loads, 200)


def test_a_trial_that_fails_opens_it_again(loads: Loads, clock: Clock) -> None:
    for _ in range(3):
        call(loads, GONE)
    clock.now += 10
    call(loads, GONE)
    with pytest.raises(UpstreamResting):
        call(loads, 200)
    clock.now += 10
    call(loads, 200)
    call(loads, 200)


def test_a_trial_that_never_asks_leaves_it_to_the_next(loads: Loads, clock: Clock) -> None:
    for _ in range(3):
        call(loads, GONE)
    clock.now += 10
    call(loads, UNPAID)
    call(loads, 200)


def test_calls_under_way_are_bounded_and_their_places_come_back(loads: Loads) -> None:
    with protect(loads, inbound(), MATCH), protect(loads, inbound(), MATCH):
        with pytest.raises(UpstreamBusy):
            call(loads, 200)
        other = Match(routes.route(publisher_id=UUID(int=9)), None, None, "")
        with protect(loads, inbound(), other):
            pass
    call(loads, GONE)
    assert loads.of(routes.PUBLISHER).under_way == 0


def test_zero_failures_never_open_it(clock: Clock) -> None:
    never = Loads(Upstream(breaker_failures=0))
    for _ in range(20):
        call(never, GONE)
    call(never, 200)
