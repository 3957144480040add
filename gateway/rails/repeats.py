"""A prepaid call under an idempotency key that is taken: the same call, sent again, or a different one."""

from uuid import UUID

from gateway.answers import again
from gateway.answers.again import AnsweredBefore, AnswerNotKept, CallInProgress, KeyReused
from gateway.answers.store import once, unpacked
from gateway.kit.money import to_text
from gateway.kit.sql import Pool
from gateway.ledger import holds
from gateway.types import Answer, Receipt


async def give_again(pool: Pool, organization_id: UUID, name: str, digest: bytes) -> None:
    """Raise ``AnsweredBefore``, or a ``Refusal`` that says why not; return when no call has the key.

    While the first call runs, or what became of it is not known, this one waits a little and is then told to
    come back: nothing is ever made twice to find out.
    """
    async for seconds_left in again.moments():
        first = await holds.find_keyed(pool, organization_id, name)
        if first is None:
            return
        call_id: UUID = first["call_id"]
        if first["digest"] != digest:
            raise KeyReused(f"this key belongs to call {call_id}, which was another request; use a new key")
        # Read ahead of its charge, an answer may be there before it is paid for.
        is_charged = first["state"] == "posted"
        if is_charged and first["body"] is not None:
            answer = Answer(unpacked(first["head"]), once(first["body"]))
            raise AnsweredBefore(answer, Receipt(call_id, "prepaid", 0, None, {again.REPLAYED: "true"}))
        if is_charged and (first["omitted"] is not None or first["is_over"]):
            paid = f"{to_text(first['spent'] or 0, first['decimals'])} {first['symbol']}"
            raise AnswerNotKept(call_id, first["omitted"], paid)
        if not seconds_left:
            raise CallInProgress(f"call {call_id} is this request under the same key and has not ended yet")
