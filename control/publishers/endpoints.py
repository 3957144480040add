"""The operations that a publisher documents: what may be called, what each costs, what is closed."""

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from control.api.fields import HeaderName
from gateway.kit.problem import FieldProblem

# A segment is literal or, in braces, a parameter. What a slash, a dot segment or a control character would be
# after decoding is not taken in encoded form either: what is priced must be what the upstream sees.
SEGMENT = re.compile(
    r"\{[A-Za-z_][A-Za-z0-9_-]{0,63}\}|(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%(?!2[EeFf]|5[Cc]|[01]|7[Ff])[0-9A-Fa-f]{2})+",
    re.ASCII,
)

Json = Any

PaymentFlow = Annotated[
    Literal["authorization", "upfront"],
    Field(
        description="When x402 payments settle: after the upstream has answered, or `upfront`, for side "
        "effects and high prices. If the call then fails, the payer has the money in its balance."
    ),
]


def well_formed(path: str) -> str:
    if path == "/":
        return path
    segments = path.split("/")
    if segments[0] or len(segments) < 2:
        raise ValueError("begins with a slash")
    for segment in segments[1:]:
        if segment in ("", ".", "..") or SEGMENT.fullmatch(segment) is None:
            raise ValueError(
                "is a path like /orders/{order_id}: no query, no empty or dot segments, "
                "and a parameter takes a whole segment"
            )
    return path


class QueryParameter(BaseModel, extra="forbid"):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    description: Annotated[str | None, Field(max_length=2000)] = None
    param_type: Literal["string", "integer", "boolean", "number", "array"] = "string"
    required: bool = False


class Endpoint(BaseModel, extra="forbid"):
    method: Literal["GET", "POST", "PUT", "DELETE", "PATCH"]
    path: Annotated[
        str,
        Field(max_length=1000, description="Relative to `api_url`; a segment in braces matches anything."),
        AfterValidator(well_formed),
    ]
    description: Annotated[str | None, Field(max_length=5000)] = None
    price: Annotated[
        str | None,
        Field(max_length=128, description='Its own price, decimal text like "0.49"; "0" makes it free.'),
    ] = None
    access: Annotated[
        Literal["authenticated", "public_anonymous"] | None,
        Field(description="Who may call it when it is free; null for anyone. A price is paid by everyone."),
    ] = None
    is_protected: Annotated[bool, Field(description="Documented, but calls are refused with 403.")] = False
    protection_reason: Annotated[str | None, Field(max_length=1000)] = None
    payment_flow: Annotated[PaymentFlow | None, Field(description="Not set: the publisher's.")] = None
    is_default: Annotated[bool, Field(description="The one to use when nothing else is said.")] = False
    operation_id: Annotated[str | None, Field(max_length=200)] = None
    query_params: Annotated[list[QueryParameter] | None, Field(max_length=100)] = None
    required_headers: Annotated[
        list[HeaderName] | None,
        Field(max_length=50),
    ] = None
    request_content_type: Annotated[str | None, Field(max_length=200)] = None
    request_body: Json = None
    body_template: Json = None
    example_request: Json = None
    response: Json = None
    example_response: Json = None


Endpoints = Annotated[list[Endpoint], Field(max_length=500)]


def repeated(endpoints: Sequence[Endpoint]) -> Iterator[FieldProblem]:
    """Two endpoints that the same request would match equally well."""
    seen: dict[tuple[str, str], int] = {}
    for position, one in enumerate(endpoints):
        first = seen.setdefault((one.method, re.sub(r"\{[^}]*\}", "{}", one.path)), position)
        if first != position:
            yield FieldProblem(
                pointer=f"body/endpoints/{position}", detail=f"is the same as endpoint {first}"
            )
