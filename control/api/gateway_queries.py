"""What the document says of ``POST /publishers/{slug}`` beyond other calls: it asks a database, too."""

from copy import deepcopy
from typing import Any, TypeAlias

from gateway import question

Json: TypeAlias = dict[str, Any]

QUERY: Json = {
    "type": "object",
    "title": "DatabaseQueryRequest",
    "description": "For a publisher of the category `database`.",
    "required": ["query"],
    "additionalProperties": False,
    "properties": {
        "query": {
            "type": "string",
            "description": "One statement that reads, in PostgreSQL's SQL. Without a `LIMIT` of its own it "
            "has the gateway's, and that is what is held, or what an x402 payment is for.",
            "minLength": 1,
            "maxLength": question.STATEMENT_CHARACTERS_MAX,
        },
        "params": {
            "type": ["array", "null"],
            "description": "The values of `$1`, `$2` and so on.",
            "maxItems": question.PARAMETERS_MAX,
            "items": {},
        },
        "database": {
            "type": ["string", "null"],
            "description": "Only the one that is sold: another name is refused.",
        },
    },
}
RESULT: Json = {
    "type": "object",
    "title": "QueryResult",
    "required": ["columns", "rows", "row_count", "truncated"],
    "properties": {
        "columns": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "type"],
                "properties": {
                    "name": {"type": "string"},
                    "type": {"type": "string", "description": "PostgreSQL's name, like `int4` or `text[]`."},
                },
            },
        },
        "rows": {
            "type": "array",
            "description": "By the columns' names. `numeric` is text, times are RFC 3339, `bytea` is base64.",
            "items": {"type": "object"},
        },
        "row_count": {"type": "integer", "minimum": 0, "description": "What is charged for."},
        "truncated": {"type": "boolean", "description": "Whether there would have been more."},
    },
}
TEXT: Json = {"schema": {"type": "string"}}
OK = (
    "The upstream's answer, of whatever type and 2xx status; of a query its rows, in the form that `Accept` "
    "says"
)


def sold_too(call: Json, problem: Json) -> Json:
    """``call`` is what is said of a call of any publisher."""
    out = deepcopy(call)
    out["operationId"] = "publisher_root_handler"
    out["summary"] = "Call the publisher's API, or query its database, and pay for it."
    out["description"] += (
        " A publisher of the category `database` runs one statement that reads, and is paid for the call and "
        "the rows that it returns: the most that this can be is held, or asked for by x402, and what was "
        "returned is charged. A query that fails costs nothing. `/publishers/{slug}/estimate` tells the "
        "price beforehand, and `GET /publishers/{slug}` what there is to query."
    )
    out["requestBody"]["content"] = {"application/json": {"schema": {"anyOf": [QUERY, {}]}}, "*/*": {}}
    answer = out["responses"]["200"]
    answer["description"] = OK
    answer["headers"]["X-Row-Limit"] = {
        "description": "Of a query: how many rows it may return at most.",
        "schema": {"type": "string"},
    }
    answer["content"] = {
        "application/json": {"schema": {"anyOf": [RESULT, {}]}},
        "application/x-ndjson": TEXT,
        "text/csv": TEXT,
        "*/*": {},
    }
    out["responses"]["406"] = {
        "description": "A query has no result in such a form",
        "content": {"application/problem+json": {"schema": problem}},
    }
    return out
