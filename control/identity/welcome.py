"""What an agent that is given a key is told, at the start and when it comes back."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field


class Agent(BaseModel):
    id: UUID
    name: str
    email: Annotated[str, Field(description="Empty when none was given.")]
    email_verified: bool
    api_key: Annotated[str, Field(description="The bearer token itself, shown this once.")]
    organization_id: UUID
    status: Literal["active"] = "active"
    user_type: Literal["agent", "user"] = "agent"
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


def setup(origin: str) -> Setup:
    at = f"{origin}/publishers/SLUG"
    return Setup(
        step_1="Store the api_key now: it is not shown again, and whoever has it can spend from your wallet.",
        step_2="Send it with every request as the header `Authorization: Bearer API_KEY`.",
        step_3=f"GET {origin}/publishers lists what can be bought; "
        f"GET {origin}/publishers/suggest?query=WORDS finds what fits a task.",
        step_4=ByPublisherKind(
            api=f"Call {at}/PATH with the method, query and body that the publisher's own API takes.",
            mcp=f"Connect an MCP client to {at} with the same header, if the publisher has an MCP endpoint.",
            database=f'POST {at} with {{"query": "SELECT ..."}}, if the publisher sells a database.',
        ),
    )


def skill_files(origin: str) -> SkillFiles:
    return SkillFiles(skill_md=f"{origin}/openapi.json", docs=f"{origin}/docs")
