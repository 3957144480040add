from datetime import datetime
from typing import Annotated, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, Field

from control.api.v1 import Camel

Provider: TypeAlias = Literal["stripe", "polar"]
State: TypeAlias = Literal["waiting", "done", "ignored", "failed"]


class PaymentEvent(BaseModel):
    id: UUID
    provider: Provider
    event_id: Annotated[str, Field(description="The processor's own id.")]
    type: str
    state: Annotated[State, Field(description="`failed` is what nobody tries any more until you retry it.")]
    note: Annotated[str | None, Field(description="Why it was ignored, or what went wrong last.")]
    attempts: int
    due_at: Annotated[datetime, Field(description="When it is tried next, while it waits.")]
    received_at: datetime
    ended_at: datetime | None


class PaymentEventInFull(PaymentEvent):
    body: Annotated[str, Field(description="What was sent, word for word.")]


class CardDebt(BaseModel):
    id: UUID
    organization_id: UUID
    asset_id: UUID
    payment_id: UUID
    provider: Provider
    provider_id: Annotated[str, Field(description="The refund or the dispute, by the processor's id.")]
    kind: Literal["refund", "dispute"]
    amount_atomic: Annotated[int, Field(description="What went back, in the asset's own atomic unit.")]
    taken_atomic: Annotated[int, Field(description="Of that, what could be taken so far.")]
    owed_atomic: Annotated[int, Field(description="The rest.")]
    created_at: datetime


class V1Taken(Camel):
    ok: bool = True
    ignored: Annotated[
        str | None, Field(description="Why nothing will come of it, as far as the event itself says.")
    ] = None
