"""Stage 8 of 8, after forward: charge what the call cost, once the upstream's head says that it was served.

A 2xx head is the result and is paid for, whatever becomes of its body. Anything else costs nothing, and the
reason goes into the usage row.
"""

from gateway.kit import tasks
from gateway.types import Answer, Hold, Receipt


async def settle(hold: Hold, answer: Answer) -> Receipt | None:
    """Return the receipt; None for an answer that is not charged, unless its payer has to be told more."""
    head = answer.head
    if not head.is_success:
        return await tasks.finish(hold.void("upstream_refused", head.status))
    return await tasks.finish(hold.post(head))
