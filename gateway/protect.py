"""Stage 6 of 9, after price, before pay: leave an upstream alone that is down or has enough to do.

A stage of its own, because it spans the rest of the call: it takes a place before money moves, so that a call
that could not be served is not paid for, and gives it back after the last byte. One that only decided, like
``limit``, could neither count what is under way nor learn how it ended.
"""

import math
from types import TracebackType

import structlog

from gateway.kit.problem import Refusal
from gateway.metering import metrics
from gateway.types import Head, Inbound, Match
from gateway.upstreams.exchange import UpstreamImproper
from gateway.upstreams.load import Loads

# Answers of a gateway that has nothing behind it. 500 is a program's own, and may be about one request only.
DOWN = frozenset({502, 503, 504})
FAILURES = frozenset({"upstream_failed", "upstream_timeout"})

log = structlog.get_logger(__name__)


class UpstreamResting(Refusal):
    status, slug, title = 503, "upstream-resting", "Upstream unavailable"

    def __init__(self, slug: str, wait_seconds: float) -> None:
        super().__init__(
            f"the upstream of {slug} failed several times and is left alone; nothing was charged"
        )
        self.headers = {"Retry-After": str(max(1, math.ceil(wait_seconds)))}


class UpstreamBusy(Refusal):
    status, slug, title = 503, "upstream-busy", "Upstream busy"

    def __init__(self, slug: str) -> None:
        super().__init__(f"{slug} has as many calls under way as it may; nothing was charged")
        self.headers = {"Retry-After": "1"}


class Turn:
    """A place among a publisher's calls. Ends by saying how its upstream did, if it was asked at all."""

    __slots__ = ("inbound", "is_answered", "is_decided", "is_trial", "load", "loads", "match")

    def __init__(self, loads: Loads, inbound: Inbound, match: Match) -> None:
        self.loads, self.inbound, self.match = loads, inbound, match
        publisher_id = match.route.publisher_id
        self.load = loads.by_publisher.get(publisher_id) or loads.of(publisher_id)
        self.is_trial = self.is_decided = self.is_answered = False

    def __enter__(self) -> "Turn":
        load, settings = self.load, self.loads.settings
        if load.failures and (wait_seconds := load.wait_seconds(settings.breaker_failures)) is not None:
            raise UpstreamResting(self.match.route.slug, wait_seconds)
        if load.under_way >= settings.calls_per_publisher:
            raise UpstreamBusy(self.match.route.slug)
        load.under_way += 1
        if settings.breaker_failures and load.failures >= settings.breaker_failures:
            self.is_trial = load.is_tried = True
        return self

    def answered(self, head: Head) -> None:
        """At once, not when the body has ended: a long answer must not keep a recovered upstream closed."""
        self.is_answered = True
        if head.status in DOWN:
            self.failed()
        else:
            self.load.failures = 0
            self.is_decided = True
            if self.is_trial:
                self.decided()

    def failed(self) -> None:
        before = self.load.rests_until
        self.loads.failed(self.load)
        if self.load.rests_until != before:
            metrics.BREAKER_OPENED.inc()
            log.warning("upstream.resting", publisher=self.match.route.slug, failures=self.load.failures)
        self.decided()

    def decided(self) -> None:
        self.is_decided = True
        if self.is_trial:
            self.load.is_tried = self.is_trial = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.load.under_way -= 1
        if self.is_decided:
            return
        # A caller that never sent its body to the end says nothing about the upstream that waited for it, and
        # one that knows what is answered in too many bytes, say, must not close it for the others.
        is_its_own = not self.inbound.body.is_whole or isinstance(error, UpstreamImproper)
        if isinstance(error, Refusal) and error.outcome in FAILURES and not is_its_own:
            self.failed()
        else:
            # Nobody asked the upstream, for want of a payment say, so the next call may try.
            self.decided()


def is_free(loads: Loads, match: Match) -> bool:
    """Whether a call would be let through without anything to be decided."""
    load = loads.by_publisher.get(match.route.publisher_id)
    return load is not None and not load.failures and load.under_way < loads.settings.calls_per_publisher


def protect(loads: Loads, inbound: Inbound, match: Match) -> Turn:
    return Turn(loads, inbound, match)
