"""How many letters strangers may cause."""

import hashlib
from typing import Literal, TypeAlias

from control.api.operation import Call
from gateway.buckets import Bucket
from gateway.kit.addresses import unit

Kind: TypeAlias = Literal["verify", "reset", "magic", "invitation"]

# Letters that one network address, or one organization, may cause, as a multiple of what one mailbox is sent.
MAILBOXES_PER_SENDER = 10


async def require(call: Call, kind: Kind, email: str) -> None:
    """Before a letter is written to an address that somebody typed.

    Each kind counts for itself. Whoever uses one up has had letters of that kind sent, so that nobody keeps
    an owner from the link that lets them in.
    """
    limits, buckets = call.ports.settings.accounts, call.ports.buckets
    if buckets is None:
        return
    rate, burst = limits.mails_per_hour / 3600, limits.mail_burst
    many, much = rate * MAILBOXES_PER_SENDER, burst * MAILBOXES_PER_SENDER
    senders = [unit(call.visitor.address)]
    if kind == "invitation":
        senders.append(str(call.actor.organization_id))
    await buckets.require(
        Bucket("mailbox", f"{kind}:{digest(email)}", rate, burst),
        *(Bucket("letters", sender, many, much) for sender in senders),
    )


def digest(text: str) -> str:
    # What is limited by is kept elsewhere, where addresses have no business.
    return hashlib.sha256(text.encode()).hexdigest()[:32]
