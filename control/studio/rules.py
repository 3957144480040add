"""What is decided without the database: names, defaults, filters, and how values travel."""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.kit.problem import invalid
from gateway.upstreams import postgres_values as values

RESERVED = ("_farebox_", "_briven_")
EXPRESSION = re.compile(r"[A-Za-z0-9_().,: '\"\-+/*]*", re.ASCII)
ON_DELETE: Final = {
    "cascade": "CASCADE",
    "restrict": "RESTRICT",
    "setNull": "SET NULL",
    "noAction": "NO ACTION",
}

COMPARISONS: Final = {"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
PATTERNS: Final = {"like": "LIKE", "ilike": "ILIKE"}
FACTS: Final = {"null": "NULL", "notnull": "NOT NULL", "true": "TRUE", "false": "FALSE"}
FILTERS_MAX, ITEMS_MAX = 50, 100
LIMIT, LIMIT_MAX = 50, 200
DEPTH_MAX = 6


@dataclass(frozen=True, slots=True)
class Condition:
    column: str
    template: str
    """What the server's ``format`` puts the column's name into."""


@dataclass(frozen=True, slots=True)
class Filters:
    conditions: Sequence[Condition]
    parameters: Sequence[str]


def not_reserved(name: str) -> str:
    if name.startswith(RESERVED):
        raise ValueError(f"may not begin with {' or '.join(RESERVED)}")
    return name


def expression(text: str) -> str:
    """One that cannot leave the parentheses that it is put into, nor hide what comes after it."""
    if not EXPRESSION.fullmatch(text) or not text.strip():
        raise ValueError("is an SQL expression of letters, digits, spaces and _().,:'\"-+/*")
    outside = re.sub(r"'[^']*'|\"[^\"]*\"", "''", text)
    if outside.replace("''", "").count("'") or '"' in outside:
        raise ValueError("has a quote that is not closed")
    if any(mark in outside for mark in ("--", "/*", "*/")):
        raise ValueError("may have no comment")
    depth = 0
    for character in outside:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth < 0:
            break
    if depth:
        raise ValueError("has a parenthesis without the other one")
    return text


def index_name(table: str, columns: Sequence[str]) -> str:
    """As long as a name may be, in bytes, and never the table's own."""
    return "_".join([table, *columns]).encode()[:59].decode(errors="ignore") + "_idx"


def clamped(text: str | None, default: int, least: int, most: int, name: str) -> int:
    if text is None or text == "":
        return default
    if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        raise invalid(f"query/{name}", "should be a whole number")
    return max(least, min(most, int(text)))


def filters_of(query: Sequence[tuple[str, str]], known: Sequence[str]) -> Filters:
    """``column__operator=value``, all of which have to hold. What has no operator is none."""
    conditions: list[Condition] = []
    parameters: list[str] = []
    asked = [(name, value) for name, value in query if "__" in name]
    if len(asked) > FILTERS_MAX:
        raise invalid("query", f"has more than {FILTERS_MAX} filters")
    for name, value in asked:
        column, _, operator = name.rpartition("__")
        if column not in known:
            raise invalid(f"query/{name}", f"there is no column {column}")
        template, more = condition(name, operator, value, len(parameters))
        conditions.append(Condition(column, template))
        parameters += more
    return Filters(conditions, parameters)


def condition(name: str, operator: str, value: str, count: int) -> tuple[str, list[str]]:
    if operator in COMPARISONS:
        return f"%I {COMPARISONS[operator]} ${count + 1}", [value]
    if operator in PATTERNS:
        return f"%I::text {PATTERNS[operator]} ${count + 1}", [value]
    if operator == "is":
        if value.lower() not in FACTS:
            raise invalid(f"query/{name}", f"should be one of {', '.join(FACTS)}")
        return f"%I IS {FACTS[value.lower()]}", []
    if operator == "in":
        items = value.split(",")
        if len(items) > ITEMS_MAX:
            raise invalid(f"query/{name}", f"has more than {ITEMS_MAX} values")
        places = ", ".join(f"${count + 1 + at}" for at in range(len(items)))
        return f"%I IN ({places})", items
    raise invalid(f"query/{name}", f"{operator} is none of eq, neq, gt, gte, lt, lte, like, ilike, in and is")


def row_key(parts: Mapping[str, Any], key: Sequence[str]) -> None:
    """A part of a key would be several rows."""
    if not key:
        raise invalid("body/primaryKey", "the table has no primary key: use a statement")
    if set(parts) != set(key):
        raise invalid("body/primaryKey", f"should have the primary key's columns: {', '.join(key)}")


def bound(given: Sequence[Any], oids: Sequence[int], arrays: Sequence[bool]) -> list[bytes | None]:
    """Values as text for the server to read. ValueError for what has none."""
    found = []
    for value, oid, is_array in zip(given, oids, arrays, strict=True):
        found.append(None if value is None else as_text(value, oid, is_array=is_array).encode())
    return found


def as_text(value: Any, oid: int, *, is_array: bool) -> str:
    if oid in (values.JSON, values.JSONB):
        return json.dumps(value, ensure_ascii=False)
    if oid == values.BYTEA and isinstance(value, str):
        return octets(value)
    if isinstance(value, list) and (is_array or oid in values.ARRAYS):
        return as_array(value, values.ARRAYS.get(oid, 0), 1)
    return plain(value)


def octets(text: str) -> str:
    """As they are in answers, in base64, or as the server writes them."""
    if text.startswith("\\x"):
        return text
    try:
        return "\\x" + base64.b64decode(text, validate=True).hex()
    except binascii.Error:
        raise ValueError("bytes are written in base64") from None


def plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def as_array(given: list[Any], element: int, depth: int) -> str:
    if depth > DEPTH_MAX:
        raise ValueError("an array has six dimensions at most")
    parts = []
    for value in given:
        if value is None:
            parts.append("NULL")
        elif isinstance(value, list) and element not in (values.JSON, values.JSONB):
            parts.append(as_array(value, element, depth + 1))
        else:
            text = as_text(value, element, is_array=False).replace("\\", "\\\\").replace('"', '\\"')
            parts.append(f'"{text}"')
    return "{" + ",".join(parts) + "}"
