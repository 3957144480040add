"""What a caller is told of a prepaid call that was served and could not be charged, or perhaps was."""

from uuid import UUID

import structlog

from gateway.kit.problem import Refusal

log = structlog.get_logger(__name__)


class HoldExpired(Refusal):
    status, slug, title = 504, "hold-expired", "The call outlived its reservation"

    def __init__(self, call_id: UUID) -> None:
        super().__init__(f"call {call_id} took too long and was not charged")


class ChargeUnknown(Refusal):
    status, slug, title = 503, "charge-unknown", "It is not known whether the call was charged"


def unknown(call_id: UUID, error: Exception) -> ChargeUnknown:
    log.warning("charge.unknown", call_id=str(call_id), reason=repr(error))
    return ChargeUnknown(
        f"the database went away while call {call_id} was charged. GET /wallet/transactions "
        "has it if it was; if not, it never will be, and its hold ends. With an Idempotency-Key "
        "it would be safe to ask again"
    )
