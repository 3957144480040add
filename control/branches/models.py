from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Discriminator, Field, Tag, model_validator

from control.api.wording import shaped
from control.postgres.branches import State
from control.postgres.describing import EndpointMade

BranchName = Annotated[
    str,
    shaped(
        r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$",
        "1 to 100 characters on one line, without a space at either end",
        max_length=100,
    ),
]
Lsn = Annotated[
    str,
    shaped(
        r"^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$",
        "a position in the log like 0/16B3748",
        description="A position in the log, like `0/16B3748`.",
    ),
]
Ready = Annotated[
    State,
    Field(description="`ready` when its data is there; `init` and `swapping` take an operation's time."),
]
Bytes = Annotated[int, Field(description="As measured last; whoever sleeps is not woken for it.")]


class EndpointWanted(BaseModel, extra="forbid"):
    endpoint_type: Literal["read_write", "read_only"] | None = None
    settings: Annotated[
        dict[str, Any] | None, Field(description="As in `POST …/branches/{branch_id}/endpoints`.")
    ] = None


class NewBranchBody(BaseModel, extra="forbid"):
    name: BranchName
    parent_branch_id: Annotated[UUID | None, Field(description="The default branch, if not set.")] = None
    parent_lsn: Annotated[Lsn | None, Field(description="What was written before this position.")] = None
    parent_timestamp: Annotated[
        AwareDatetime | None, Field(description="What was committed up to this moment.")
    ] = None
    init_source: Literal["parent-data", "schema-only"] | None = None
    schema_only: Annotated[bool, Field(description="The same as `init_source: schema-only`.")] = False
    add_endpoint: Annotated[bool, Field(description="Unless `endpoints` says which.")] = True
    endpoints: Annotated[list[EndpointWanted], Field(max_length=10)] = []
    expires_at: Annotated[AwareDatetime | None, Field(description="Deleted then, with its endpoints.")] = None
    protected: bool | None = None
    archived: bool | None = None

    @model_validator(mode="after")
    def is_one_point(self) -> Self:
        if self.parent_lsn is not None and self.parent_timestamp is not None:
            raise ValueError("parent_lsn and parent_timestamp exclude one another")
        return self


class RenameBranchBody(BaseModel, extra="forbid"):
    name: BranchName


class ArchivedBody(BaseModel, extra="forbid"):
    archived: bool


class ExpirationBody(BaseModel, extra="forbid"):
    expires_at: Annotated[AwareDatetime | None, Field(description="Null for never.")] = None


class ResetBody(BaseModel, extra="forbid"):
    parent: Annotated[Literal[True], Field(description="To what its parent is now: there is nothing else.")]


class AtTimestamp(BaseModel, extra="forbid"):
    timestamp: AwareDatetime


class AtLsn(BaseModel, extra="forbid"):
    lsn: Lsn


def said_by(point: object) -> str | None:
    """Which of the two it is. Tried one after the other, both would be called required."""
    given = [name for name in ("timestamp", "lsn") if isinstance(point, dict) and name in point]
    return given[0] if len(given) == 1 else None


PointInTime = Annotated[
    Annotated[AtTimestamp, Tag("timestamp")] | Annotated[AtLsn, Tag("lsn")],
    Discriminator(said_by, "point_in_time", "should be an object with either a timestamp or an lsn"),
]


class FromSelf(BaseModel, extra="forbid"):
    type: Literal["^self"]
    point_in_time: PointInTime


class FromParent(BaseModel, extra="forbid"):
    type: Literal["^parent"]
    point_in_time: PointInTime | None = None


class FromBranch(BaseModel, extra="forbid"):
    type: Literal["branch"]
    source_branch_id: UUID
    point_in_time: PointInTime | None = None


class RestoreBody(BaseModel, extra="forbid"):
    source: Annotated[FromSelf | FromParent | FromBranch, Field(discriminator="type")]
    preserve_under_name: Annotated[BranchName, Field(description="A new branch that has what this one had.")]


class BranchCreated(BaseModel):
    id: UUID
    project_id: UUID
    name: str
    timeline_id: UUID
    parent_branch_id: UUID | None
    parent_lsn: str | None
    parent_timestamp: datetime | None
    init_source: str | None
    is_default: bool
    protected: bool
    archived: bool
    state: Ready
    logical_size_bytes: Bytes
    physical_size_bytes: Annotated[int, Field(description="With what is kept to go back to.")]
    created_at: datetime


class Branch(BranchCreated):
    expires_at: datetime | None
    last_reset_at: datetime | None
    created_by: UUID
    updated_at: datetime
    deleted_at: datetime | None
    deleted_by: UUID | None


class BranchMade(BaseModel):
    branch: BranchCreated
    endpoints: list[EndpointMade] | None
    endpoint_error: Annotated[
        str | None, Field(description="Null: a branch is made with its endpoints or not at all.")
    ] = None
    operation_id: Annotated[UUID, Field(description="Finished when the branch has its data.")]


class BranchRestored(BaseModel):
    branch: Branch
    backup_branch: Branch
    operation_id: Annotated[UUID, Field(description="Until it is finished the branch has what it had.")]


class BranchCount(BaseModel):
    count: int


class BranchDeleted(BaseModel):
    id: UUID
    deleted: Literal[True] = True
    operation_id: UUID


class BranchArchived(BaseModel):
    id: UUID
    archived: bool
    operation_id: Annotated[UUID | None, Field(description="Null if it was so already.")]


class BranchExpiration(BaseModel):
    id: UUID
    expires_at: datetime | None


class DefaultBranch(BaseModel):
    id: UUID
    is_default: Literal[True] = True


class ConnectionString(BaseModel):
    connection_string: str


class BranchDetail(BaseModel):
    branch_id: UUID
    timeline_id: UUID
    ancestor_timeline_id: UUID | None
    ancestor_lsn: Annotated[str | None, Field(description="Where it left the timeline it is made of.")]
    current_logical_size: int | None
    last_record_lsn: Annotated[str, Field(description="As measured last.")]
    disk_consistent_lsn: Annotated[str, Field(description="The same: what is written is on the disk.")]
    prev_record_lsn: Annotated[None, Field(description="Not known.")] = None
    remote_consistent_lsn: Annotated[None, Field(description="There is no other copy.")] = None
    state: Ready


Kind = Annotated[
    Literal["present", "future", "past"],
    Field(
        description="`future` is after the last commit, and the answer is where it ends; `past` is before "
        "the history that is kept, and the answer is where that begins."
    ),
]


class LsnByTimestamp(BaseModel):
    lsn: str
    kind: Kind


class TimestampByLsn(BaseModel):
    timestamp: datetime
    kind: Kind
