"""How ``/v1`` writes things down: camelCase names, and times in milliseconds."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel

from gateway.kit.problem import Problem

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


def spelled(problem: Problem, path: str) -> Problem:
    """Under ``/v1`` a code is snake_case, and invalid input goes by the name that its clients know."""
    if not path.startswith(PREFIX):
        return problem
    code = "validation_failed" if problem.code == "invalid-request" else problem.code.replace("-", "_")
    return problem.model_copy(update={"code": code})
