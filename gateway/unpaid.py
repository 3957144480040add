"""A stranger who is told the price again: the same 402, and what is another in each answer.

Who was told it before, and says the same to the letter, is told the same for as long as nothing else is
published. ``limit`` and ``protect`` decide about the call as about any other; the rest of ``call.py`` would
come to what its plan has already. Nothing waits, so there is neither a task nor a coroutine. Whatever is not
as usual is left to ``call.py``. Who asks for another query is told the same but for the URL: agents look for
ever new things, and ask what each costs before they pay.
"""

from gateway.call import Gate, with_another_query
from gateway.front.arrived import Wording
from gateway.front.connection import Connection
from gateway.front.reply import ended, put_again
from gateway.kit import hygiene, ids
from gateway.kit.problem import Refusal
from gateway.kit.proxies import client_of
from gateway.limit import asked_of, give_back
from gateway.plan import Plan, Told
from gateway.protect import is_free
from gateway.x402 import wire
from gateway.x402.offers import HEADER_BYTES_MAX, PaymentRequired


def tell_again(gate: Gate, connection: Connection, wording: Wording) -> bool:
    """False, and nothing is done, where the call has to be served."""
    plan: Plan | None = wording.plan or of_another_query(gate, wording)
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


def of_another_query(gate: Gate, wording: Wording) -> Plan | None:
    last: Plan | None = wording.heading.plans.get((wording.method, wording.path))
    if last is None or last.told is None or not last.holds(gate.snapshot):
        return None
    try:
        plan = with_another_query(wording)
    except Refusal:
        # Served as any other call, it is refused again.
        return None
    if plan is not None:
        plan.told = of_another_url(last.told, plan.inbound.url)
    return plan


def of_another_url(told: Told, url: str) -> Told | None:
    """None where there is more in it than the URL that would be different."""
    refusal = told.refusal
    if not isinstance(refusal, PaymentRequired) or not refusal.is_whole:
        return None
    before, header = refusal.resource.url, refusal.headers[wire.REQUIRED]
    other = wire.of_another(header, before, url)
    if len(other) > HEADER_BYTES_MAX:
        return None
    body = wire.about(told.body, "resource", before, url)
    return Told(refusal, told.lines.with_another(header, other), body, ended(body))
