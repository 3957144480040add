from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from control.postgres.names import KnownName, SlotName


class NewSlot(BaseModel, extra="forbid"):
    name: SlotName
    slot_type: Literal["logical", "physical"] = "logical"
    plugin: Annotated[
        Literal["pgoutput", "test_decoding"], Field(description="What writes a logical slot's changes.")
    ] = "pgoutput"
    database: Annotated[
        KnownName | None,
        Field(description="The database that a logical slot reads; the branch's first if not set."),
    ] = None


class Slot(BaseModel):
    id: UUID
    project_id: UUID
    branch_id: UUID
    name: str
    slot_type: str
    plugin: Annotated[str, Field(description="Empty for a physical slot.")]
    database: str | None
    status: Annotated[
        str,
        Field(description="`active` while it is read, `inactive`, or `lost` when it fell behind for good."),
    ]
    active_pid: int | None
    restart_lsn: str | None
    confirmed_flush_lsn: str | None
    created_at: datetime
    updated_at: datetime
