from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from control.api.fields import HYPHENATED, HYPHENATED_WORDS, Int32, Name
from control.api.permissions import V1Role
from control.api.v1 import Camel, CamelBody, Moment
from control.api.wire_ids import KeyId, OrgId, PersonId, ProjectId
from control.api.wording import shaped

Region = Annotated[str, shaped(HYPHENATED, HYPHENATED_WORDS, min_length=2, max_length=32)]
Slug = Annotated[
    str,
    shaped(
        r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        "lower-case letters, digits and hyphens, with a letter or a digit at each end",
        min_length=1,
        max_length=32,
    ),
]
ComputeUnits = Annotated[Int32, Field(ge=1, le=1000)]
# An hour to thirty days.
Retention = Annotated[int, Field(ge=3600, le=2_592_000)]


class ProjectSettings(BaseModel, extra="forbid"):
    """What is not sent, or is null, is left as it is."""

    block_public_connections: bool | None = None
    block_vpc_connections: bool | None = None
    hipaa: bool | None = None
    protected_branches_only: bool | None = None
    enable_logical_replication: Annotated[
        bool | None, Field(description="Turned off by `PATCH /projects/{project_id}/replication` alone.")
    ] = None
    compute_unit_min: ComputeUnits | None = None
    compute_unit_max: ComputeUnits | None = None


class NewProject(ProjectSettings):
    name: Name
    region: Region


class ProjectChange(ProjectSettings):
    name: Name | None = None
    history_retention_seconds: Retention | None = None


class Project(BaseModel):
    id: UUID
    name: str
    organization_id: UUID
    region: str
    tenant_id: Annotated[UUID, Field(description="The same as `id`: a project is its own tenant.")]
    created_by: UUID
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    deleted_by: UUID | None
    block_public_connections: bool
    block_vpc_connections: bool
    hipaa: bool
    protected_branches_only: bool
    enable_logical_replication: bool
    compute_unit_min: int
    compute_unit_max: int
    history_retention_seconds: int
    is_service_project: Annotated[bool, Field(description="False: there are none.")] = False
    default_branch_id: UUID | None
    branch_count: int
    storage_bytes: Annotated[int, Field(description="With what is kept to go back to, as measured last.")]
    postgres_version: Annotated[str | None, Field(description="Null until its first branch has data.")]
    default_compute_size_min: Annotated[float, Field(description="What an endpoint has, unless told.")] = 0.25
    default_compute_size_max: Annotated[float, Field(description="The same: sizes stay as they are.")] = 0.25
    active_time_seconds: Annotated[float, Field(description="How long its endpoints have run, in all.")]
    compute_last_active_at: datetime | None


class ConnectionUri(BaseModel):
    uri: str


class ProjectSize(BaseModel):
    project_id: UUID
    size_bytes: int


class ReplicationChange(BaseModel, extra="forbid"):
    enabled: bool


class Replication(BaseModel):
    project_id: UUID
    enabled: bool
    publications_count: Annotated[int, Field(description="On all its branches, as they were last seen.")]
    slots_count: Annotated[int, Field(description="On all its branches, as they were last seen.")]


class DeletedProject(BaseModel):
    id: UUID
    deleted_at: datetime | None


class KeptProject(BaseModel):
    id: UUID
    name: str
    slug: str
    deleted_at: datetime
    kept_until: Annotated[datetime, Field(description="Its data is thrown away then.")]
    storage_bytes: Annotated[int, Field(description="What it takes until then, as measured last.")]


class V1NewProject(CamelBody):
    name: Annotated[Name, Field(max_length=80)]
    slug: Annotated[Slug | None, Field(description="Made up if not set.")] = None
    region: Region = "eu-west-1"
    org_id: Annotated[OrgId | None, Field(description="Your own organization if not set.")] = None


class V1ProjectChange(CamelBody):
    name: Annotated[Name, Field(max_length=80)] | None = None
    slug: Slug | None = None


class V1Move(CamelBody):
    org_id: OrgId


class V1Project(Camel):
    id: ProjectId
    slug: str
    name: str
    org_id: OrgId
    org_name: str
    org_personal: bool
    region: str
    tier: Annotated[str, Field(description="The organization's plan, by its name in `GET /plans`.")]
    shard_id: Annotated[
        str | None, Field(description="Always null: projects share no server, each has one of its own.")
    ] = None
    data_schema_name: Annotated[
        str | None,
        Field(description="Where in a project's database its tables are, as a rule."),
    ] = "public"
    created_at: Moment
    updated_at: Moment
    deleted_at: Moment | None


class V1ProjectShown(Camel):
    project: V1Project


class V1Projects(Camel):
    projects: list[V1Project]


class V1Info(Camel):
    project: V1Project
    project_id: ProjectId
    authenticated_via: Literal["api_key", "session"]
    api_key_id: KeyId | None
    user_id: PersonId
    role: Annotated[V1Role, Field(description="The greatest of the four that covers what you may do here.")]


def sent(
    body: NewProject | ProjectChange | V1ProjectChange, exclude: set[str] | None = None
) -> dict[str, Any]:
    return {name: value for name, value in body.model_dump(exclude=exclude).items() if value is not None}
