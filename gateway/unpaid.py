"""A stranger who is told the price again: the same 402, and what is another in each answer.

Who was told it before, and says the same to the letter, is told the same for as long as nothing else is
published. ``limit`` and ``protect`` decide about the call as about any other; the rest of ``call.py`` would
come to what its plan has already. Nothing waits, so there is neither a task nor a coroutine. Whatever is not
as usual is left to ``call.py``.
"""

from gateway.call import Gate
from gateway.front.arrived import Wording
from gateway.front.connection import Connection
from gateway.front.reply import put_again
from gateway.kit import hygiene, ids
from gateway.kit.proxies import client_of
from gateway.limit import asked_of, give_back
from gateway.plan import Plan
from gateway.protect import is_free


def tell_again(gate: Gate, connection: Connection, wording: Wording) -> bool:
    """False, and nothing is done, where the call has to be served."""
    plan: Plan | None = wording.plan
    if plan is None or plan.told is None or not plan.holds(gate.snapshot):
        return False
    if not is_free(gate.loads, plan.match):
        return False
    peer = connection.address
    address = client_of(peer, wording.heading.headers, gate.proxies) if gate.proxies else peer
    allowance = gate.buckets.ahead(asked_of(gate.limits, plan, address))
    if allowance is None:
        return False
    call_id, told = ids.new(), plan.told
    watch = gate.reporter.begin(call_id, wording)
    watch.recalled(plan.match, plan.caller, plan.known, is_priced=True)
    watch.limited(allowance)
    watch.protected()
    watch.refusal, watch.status = told.refusal, told.refusal.status
    put_again(connection, told.lines, f"{allowance.lines}{hygiene.CALL_ID}: {call_id}\r\n", told.end)
    give_back(gate.buckets, plan.match, told.refusal, is_answered=False)
    gate.reporter.end(watch)
    return True
