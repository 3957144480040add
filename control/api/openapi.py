"""Emit OpenAPI 3.1 from registered operations. Pure: rooms in, dict out."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, TypeAlias

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from control.api import gateway_paths
from control.api.inputs import is_optional, is_raw
from control.api.operation import Operation, Room
from gateway.kit.problem import Problem, Refusal

Json: TypeAlias = dict[str, Any]
Slot: TypeAlias = tuple[str, JsonSchemaMode]

LOCATION: Json = {"Location": {"required": True, "schema": {"type": "string"}}}
# Either of them. Paid calls take no cookie.
SECURITY: list[Json] = [{"bearer_auth": []}, {"cookie_auth": []}]

DESCRIPTION = """Buy calls to other people's APIs, sell calls to yours, and manage both.

Paths under `/publishers/{slug}/` are the publishers' own APIs, paid for call by call: from the balance of an
API key's organization, or by x402 with no account at all. Everything else is management. Errors are
`application/problem+json` with a stable `code`. Amounts are decimal text, or integers in an asset's smallest
unit where the name ends in `_atomic`. Times are UTC.

Send `Authorization: Bearer` with an API key, or with an access token. `POST /auth/agent` gives a key to
anyone; `POST /organizations/default/api-keys` makes more. People sign up at `POST /auth/signup` and sign in
at `POST /auth/login`, which gives an access token and a refresh token; a browser's page of this origin has a
cookie instead. Paid calls take a key, or an x402 payment, and neither token nor cookie.

In a request, null means the same as a field that is not there.
"""

# What the document is divided into, in the order in which somebody new meets it. Other rooms come last.
SECTIONS: Mapping[str, str] = {
    "gateway": "Calls to publishers' APIs, and what it takes to make them.",
    "publishers": "What is on sale, and what your organization sells.",
    "wallet": "What your organization can spend, deposits, and where it went.",
    "payments": "What can be paid with, for x402 clients and crawlers.",
    "auth": "Keys for agents; signing up and in, passwords and links in mail.",
    "sessions": "Where you are signed in.",
    "me": "Your profile.",
    "api_keys": "Who acts for an organization or a project, with which permissions and how much money.",
    "organizations": "Yours, and teams.",
    "members": "Who belongs to an organization or a project, and as what.",
    "invites": "Asking others in, by mail.",
    "permissions": "What there is to be allowed, and the roles that grant it.",
    "projects": "Postgres databases, and what members and keys can be limited to.",
    "branches": "A project's data, and what it was earlier.",
    "endpoints": "Where clients connect to a branch, and whether a server runs there.",
    "operations": "What was asked of branches and endpoints, and what became of it.",
    "branch_protection": "What is not to happen to a branch.",
    "studio": "What is in a project's database: tables, rows, and statements of your own.",
    "webhooks": "What you want to be told, and what became of telling you.",
    "oauth": "Accounts of yours elsewhere, that publishers act in for you.",
    "providers": "Where callers of your publishers connect such accounts.",
    "audit_logs": "Who did what, when and from where.",
    "facilitator": "Settling payments for others.",
}


def document(rooms: Sequence[Room]) -> Json:
    operations = [operation for room in rooms for operation in room.operations]
    schemas, components = TypeAdapter.json_schemas(
        list(adapters(operations)), ref_template="#/components/schemas/{model}"
    )
    paths: Json = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = describe(operation, schemas)
    for path, item in gateway_paths.describe(schemas["problem", "serialization"]).items():
        paths.setdefault(path, {}).update(item)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Farebox API", "version": "1", "description": DESCRIPTION},
        "security": SECURITY,
        "tags": sections(paths),
        "paths": paths,
        "components": {
            "schemas": components["$defs"],
            "securitySchemes": {
                "bearer_auth": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, which `POST /auth/agent` gives to anyone, or an access "
                    "token, which `POST /auth/login` gives to people.",
                },
                "cookie_auth": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "__Host-farebox",
                    "description": "A browser's session; `farebox` where there is no https. A request that "
                    "changes something has to come from a page of this origin. It pays for no call.",
                },
            },
        },
    }


def adapters(operations: Sequence[Operation]) -> Iterator[tuple[str, JsonSchemaMode, TypeAdapter[Any]]]:
    yield "problem", "serialization", TypeAdapter(Problem)
    for operation in operations:
        for item in operation.inputs:
            yield f"{operation.id}/{item.name}", "validation", item.adapter
        if operation.body is not None:
            yield f"{operation.id}/body", "validation", operation.body
        if operation.returns is not None:
            yield f"{operation.id}/returns", "serialization", operation.returns


def sections(paths: Json) -> list[Json]:
    found = {tag for item in paths.values() for one in item.values() for tag in one.get("tags", ())}
    known = [{"name": name, "description": SECTIONS[name]} for name in SECTIONS if name in found]
    return [*known, *({"name": name} for name in sorted(found - SECTIONS.keys()))]


def describe(operation: Operation, schemas: Mapping[Slot, Json]) -> Json:
    summary, _, description = (inspect.getdoc(operation.handler) or "").partition("\n")
    out: Json = {"operationId": operation.id, "tags": [operation.room], "summary": summary}
    if description.strip():
        out["description"] = description.strip()
    out["security"] = SECURITY if operation.access else []
    if operation.access:
        out["x-permission"] = operation.access
    out["parameters"] = list(parameters(operation, schemas))
    if operation.body is not None:
        # A signed body is somebody else's format, and read after it was believed.
        body = (
            {"type": "object"} if is_raw(operation.handler) else schemas[f"{operation.id}/body", "validation"]
        )
        content = {"application/json": {"schema": body}}
        out["requestBody"] = {"required": not is_optional(operation.body), "content": content}
    out["responses"] = {str(operation.status): success(operation, summary, schemas)}
    if operation.media_type == "image/*":
        out["responses"]["302"] = {"description": "It is elsewhere", "headers": LOCATION}
    in_order = sorted(operation.fails, key=attrgetter("status"))
    for status, refusals in groupby(in_order, key=attrgetter("status")):
        out["responses"][str(status)] = failure(list(refusals), schemas)
    out["responses"]["500"] = bug(schemas["problem", "serialization"])
    return out


def parameters(operation: Operation, schemas: Mapping[Slot, Json]) -> Iterator[Json]:
    for item in operation.inputs:
        schema = dict(schemas[f"{operation.id}/{item.name}", "validation"])
        if item.place == "rest":
            # As RFC 6570 expands an object: each of its members is a parameter.
            free = {"type": "object", "additionalProperties": {"type": "string"}}
            told = {"in": "query", "required": False, "style": "form", "explode": True, "schema": free}
            yield {"name": item.name, "description": schema["description"], **told}
            continue
        if not item.is_required and item.default is not None:
            schema["default"] = item.default
        out: Json = {"name": item.name, "in": item.place, "required": item.is_required, "schema": schema}
        if description := schema.pop("description", None):
            out["description"] = description
        yield out
    if operation.is_idempotent:
        yield gateway_paths.IDEMPOTENCY_KEY


def success(operation: Operation, summary: str, schemas: Mapping[Slot, Json]) -> Json:
    out: Json = {"description": summary}
    if operation.status == 302:
        out["headers"] = LOCATION
    if operation.media_type is not None:
        out["content"] = {operation.media_type: {}}
    if operation.returns is not None:
        schema = schemas[f"{operation.id}/returns", "serialization"]
        out["content"] = {"application/json": {"schema": schema}}
    if operation.is_printable:
        out["content"]["text/html"] = {"schema": {"type": "string"}}
    return out


def failure(refusals: Sequence[type[Refusal]], schemas: Mapping[Slot, Json]) -> Json:
    """Describe one status, which may stand for several problem types."""
    types = {"properties": {"type": {"enum": [refusal.type_uri() for refusal in refusals]}}}
    schema = {**schemas["problem", "serialization"], **types}
    return {
        "description": "; ".join(refusal.title for refusal in refusals),
        "content": {"application/problem+json": {"schema": schema}},
    }


def bug(problem: Json) -> Json:
    return {
        "description": "A bug of ours; `detail` has the id to report it by",
        "content": {"application/problem+json": {"schema": problem}},
    }
