from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from control.api.fields import Name

Email = Annotated[
    str,
    Field(
        max_length=254,
        pattern=r"^[^\s@<>\x00-\x1f\x7f]{1,64}@[^\s@<>\x00-\x1f\x7f]+\.[^\s@<>\x00-\x1f\x7f.]+$",
    ),
]


class NewAgent(BaseModel, extra="forbid"):
    email: Annotated[Email | None, Field(description="Where its owner can be reached. Optional.")] = None
    name: Annotated[Name | None, Field(description="What to call it. One is made up if you have none.")] = (
        None
    )


class Agent(BaseModel):
    id: UUID
    name: str
    email: Annotated[str, Field(description="Empty when none was given.")]
    email_verified: bool
    api_key: Annotated[str, Field(description="The bearer token itself, shown this once.")]
    organization_id: UUID
    status: Literal["active"] = "active"
    user_type: Literal["agent"] = "agent"
    created_at: datetime


class ByPublisherKind(BaseModel):
    api: str
    mcp: str
    database: str


class Setup(BaseModel):
    step_1: str
    step_2: str
    step_3: str
    step_4: ByPublisherKind


class SkillFiles(BaseModel):
    skill_md: Annotated[str, Field(description="A description of the API that a program can read.")]
    docs: Annotated[str, Field(description="The documentation for people.")]


class RegisteredAgent(BaseModel):
    success: bool
    message: str
    verification_sent: bool
    verification_required: bool
    next_step: str
    agent: Agent
    setup: Setup
    skill_files: SkillFiles
