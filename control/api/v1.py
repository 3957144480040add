"""How ``/v1`` writes things down: camelCase names, and times in milliseconds."""

from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from gateway.buckets import Allowance
from gateway.kit.problem import FieldProblem, Problem

PREFIX = "/v1/"


class Camel(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )


class CamelBody(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


def milliseconds(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[
    datetime,
    PlainSerializer(milliseconds, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


# What its clients compare with, where it is not our own word in snake_case.
CODES = {
    "invalid-request": "validation_failed",
    "request-entity-too-large": "too_large",
    "too-many-calls": "rate_limited",
}


def spelled(problem: Problem, path: str) -> Problem:
    """Under ``/v1`` codes are snake_case, and invalid input is told as its clients read it."""
    if not path.startswith(PREFIX):
        return problem
    told: dict[str, object] = {"code": CODES.get(problem.code, problem.code.replace("-", "_"))}
    if problem.errors is not None:
        told["issues"] = [issue(one) for one in problem.errors]
    return problem.model_copy(update=told)


def rated(headers: MutableMapping[str, str], allowance: Allowance | None) -> None:
    """Say in an answer how often its asker may ask, in the fields that its clients know."""
    # A refusal by another limit says which.
    told = headers if "RateLimit-Limit" in headers or allowance is None else allowance.headers
    for name in ("Limit", "Remaining"):
        if f"RateLimit-{name}" in told:
            headers[f"X-RateLimit-{name}"] = told[f"RateLimit-{name}"]


def issue(field: FieldProblem) -> dict[str, object]:
    """As zod writes one: the path is that within the body."""
    _, *path = field.pointer.split("/")
    steps = [int(step) if step.isdecimal() else step for step in path]
    return {"code": "custom", "path": steps, "message": field.detail}
