"""Stage 4 of 9, after identify, before price: refuse who calls too often, before any money moves.

A call takes a token for its address, for its key, and for its publisher where that has a limit: from all of
them or from none, in one round trip for all calls that wait. What turns out not to reach the publisher's API
gives the publisher's token back, or anybody could use up a publisher's minute without paying for one call.
"""

from uuid import UUID

from config.settings import Limits
from gateway.buckets import Allowance, Bucket, Buckets, bucket, by_address
from gateway.kit.addresses import text_of
from gateway.kit.problem import Refusal
from gateway.kit.proxies import Address
from gateway.plan import Plan
from gateway.types import Match


async def limit(buckets: Buckets, asked: tuple[Bucket, ...]) -> Allowance:
    """To be awaited where ``Buckets.ahead`` has nothing left for these."""
    return await buckets.require(*asked)


def asked_of(limits: Limits, plan: Plan, address: Address) -> tuple[Bucket, ...]:
    """What a call from there takes from."""
    caller = plan.caller
    if plan.address is not address:
        by_caller = () if caller.key_id is None else (by_key(limits, caller.key_id),)
        plan.asked = by_address(limits, address), *by_caller, *by_publisher(plan.match)
        plan.address, plan.forwarded = address, text_of(address)
    return plan.asked


def by_key(limits: Limits, key_id: UUID) -> Bucket:
    return bucket("key", str(key_id), limits.key_calls_per_second, limits.key_burst)


def by_publisher(match: Match) -> tuple[Bucket, ...]:
    calls = match.route.calls_per_minute_max
    if calls is None:
        return ()
    return (bucket("publisher", str(match.route.publisher_id), calls / 60, calls),)


def give_back(buckets: Buckets, match: Match, refusal: Refusal, *, is_answered: bool) -> None:
    """What the publisher's API was not asked for."""
    is_asked = is_answered or refusal.outcome is not None
    if not is_asked and (asked := by_publisher(match)):
        buckets.give_back(*asked)
