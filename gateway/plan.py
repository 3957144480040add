"""What follows from the head of a request and from what is published, and from nothing else.

The first request with a head finds it out, stage by stage. For the next one that says the same to the letter
it is still so, until something else is published or the caller's key is over. What depends on the moment is
not here: the limits, the balance, the upstream's health, and ids.
"""

from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from gateway.buckets import Bucket
from gateway.front.reply import Lines
from gateway.kit import queries
from gateway.kit.problem import Refusal
from gateway.metering.watch import Known
from gateway.snapshot import Snapshot
from gateway.types import Caller, Inbound, Match, Quote, Vouched
from gateway.upstreams.request import Request


class Told(NamedTuple):
    """A refusal that everybody is given, as it is written."""

    refusal: Refusal
    lines: Lines
    body: bytes
    end: bytes
    """The body, and what is said of it at the end of the head."""


class Plan:
    __slots__ = (
        "address",
        "asked",
        "caller",
        "edition",
        "forwarded",
        "inbound",
        "known",
        "match",
        "quote",
        "request",
        "told",
        "vouched",
    )

    def __init__(
        self,
        edition: int,
        inbound: Inbound,
        match: Match,
        caller: Caller,
        known: Known,
        neighbour: "Plan | None" = None,
    ) -> None:
        """``neighbour`` is another one of the same caller and publisher."""
        self.edition = edition
        """What was published when it was made."""
        self.inbound, self.match, self.caller = inbound, match, caller
        """Of the call that it was made for, without its body."""
        self.known = known
        """What the log says of each of its calls."""
        self.quote: Quote | None = None
        self.told: Told | None = None
        """``unpaid``'s: the 402 of those who do not say who they are."""
        self.address: IPv4Address | IPv6Address | None = None if neighbour is None else neighbour.address
        """The last that made a call, to which the next two belong. Most heads come from one."""
        self.asked: tuple[Bucket, ...] = () if neighbour is None else neighbour.asked
        """``limit``'s: what a call from there takes from."""
        self.forwarded: str = "" if neighbour is None else neighbour.forwarded
        """``forward``'s: how the upstream is told of it."""
        self.request: Request | None = None
        """``forward``'s: what the upstream is sent, and what vouched for it."""
        self.vouched: Vouched | None = None

    def holds(self, snapshot: Snapshot) -> bool:
        if self.edition != snapshot.edition:
            return False
        caller = self.caller
        if caller.key_id is None:
            return True
        if caller.expires_at is not None and caller.expires_at <= datetime.now(UTC):
            return False
        snapshot.uses.note(caller.key_id)
        return True

    def asking(self, inbound: Inbound) -> "Plan":
        """For what differs from the call of this one in its query, on which nothing depends but where it goes
        to: neither who calls, nor which endpoint, nor the price.
        """
        before, after, match = self.inbound.query, inbound.query, self.match
        url = queries.replaced(match.url, before, after)
        plan = Plan(
            self.edition, inbound, Match(match.route, match.endpoint, match.position, url), self.caller,
            self.known, self,
        )  # fmt: skip
        plan.quote = self.quote
        if self.request is not None and self.vouched is not None and not self.vouched.query:
            plan.request, plan.vouched = self.request.asking(before, after), self.vouched
        return plan

    def priced(self, quote: Quote) -> Quote:
        """What is asked of a database is in the body, and so is its price."""
        if self.match.route.database is None:
            self.quote = quote
        return quote
