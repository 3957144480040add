"""Stage 3 of 8, after match, before limit: who is calling?

A key makes the caller an organization, in live or in test money. Without one the caller is whoever pays. A
key that is wrong is refused even beside a payment: its sender believes something that is not so.
"""

from gateway.kit import keys
from gateway.kit.problem import Unauthorized
from gateway.snapshot import Snapshot
from gateway.types import Caller, Inbound, Match

STRANGER = Caller(None, None, None)


async def identify(snapshot: Snapshot, inbound: Inbound, match: Match) -> Caller:
    key = inbound.credentials.api_key
    if key is not None:
        # The checksum spares the database a query for every mistyped or invented key.
        caller = await snapshot.caller(keys.fingerprint(key)) if keys.is_well_formed(key) else None
        if caller is None:
            raise Unauthorized("this API key is unknown, revoked or expired, or may not spend")
        return caller
    if match.route.exchange is not None or match.route.ownership is not None:
        # It tells its callers apart, and a payer is nobody to it.
        raise Unauthorized(f"{match.route.slug} serves callers that it knows: send an API key")
    return STRANGER
