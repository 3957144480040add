"""Stage 3 of 9, after match, before limit: who is calling?

A key makes the caller an organization, in live or in test money. Without one the caller is whoever pays. A
key that is wrong is refused even beside a payment: its sender believes something that is not so.
"""

from datetime import UTC, datetime

from config.settings import Limits
from gateway.buckets import Buckets, by_address
from gateway.kit import keys
from gateway.kit.problem import Refusal, Unauthorized
from gateway.snapshot import Snapshot
from gateway.types import Caller, Inbound, Match


class QuotaExceeded(Refusal):
    status, slug, title = 403, "quota-exceeded", "Quota exceeded"


STRANGER = Caller(None, None, None)


async def identify(
    snapshot: Snapshot, buckets: Buckets, limits: Limits, inbound: Inbound, match: Match
) -> Caller:
    key = inbound.credentials.api_key
    if key is not None:
        caller = await whose(snapshot, buckets, limits, inbound, key)
        if caller is None:
            raise Unauthorized(
                "this API key is unknown, revoked or expired, or may not spend; "
                "an access token pays for nothing"
            )
        require_calls_left(caller)
        return caller
    route = match.route
    if route.exchange is not None or route.ownership is not None or route.oauth_provider_id is not None:
        # It tells its callers apart, and a payer is nobody to it.
        raise Unauthorized(f"{route.slug} serves callers that it knows: send an API key")
    return STRANGER


async def whose(
    snapshot: Snapshot, buckets: Buckets, limits: Limits, inbound: Inbound, key: str
) -> Caller | None:
    fingerprint = keys.fingerprint(key)
    if not snapshot.is_known(fingerprint):
        # Whoever tries keys is stopped before the database is asked; a key in use does not come here.
        await buckets.require(by_address(limits, inbound.client_address))
        # The checksum spares it a query for every mistyped key.
        if not keys.is_well_formed(key):
            return None
    return await snapshot.caller(fingerprint)


def require_calls_left(caller: Caller) -> None:
    if caller.blocked_until is not None and datetime.now(UTC) < caller.blocked_until:
        raise QuotaExceeded(
            "the calls that the organization's plan allows in a month are used up until "
            f"{caller.blocked_until.isoformat()}; POST /organizations/default/plan chooses another plan"
        )
