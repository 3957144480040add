"""Values of PostgreSQL as JSON's and back, by the type's number. All travel as text.

What a JSON number may not hold exactly stays text: numeric, and floats that are no numbers.
"""

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec

Read: TypeAlias = Callable[[str], Any]

BOOL, BYTEA, INT8, INT2, INT4, TEXT, OID, JSON = 16, 17, 20, 21, 23, 25, 26, 114
FLOAT4, FLOAT8, DATE, TIMESTAMP, TIMESTAMPTZ, NUMERIC, UUID, JSONB = (
    700,
    701,
    1082,
    1114,
    1184,
    1700,
    2950,
    3802,
)
NAMES = {
    BOOL: "bool", BYTEA: "bytea", INT8: "int8", INT2: "int2", INT4: "int4", TEXT: "text", OID: "oid",
    JSON: "json", FLOAT4: "float4", FLOAT8: "float8", DATE: "date", TIMESTAMP: "timestamp",
    TIMESTAMPTZ: "timestamptz", NUMERIC: "numeric", UUID: "uuid", JSONB: "jsonb", 1042: "bpchar",
    1043: "varchar", 19: "name", 1083: "time", 1186: "interval", 1266: "timetz", 869: "inet", 650: "cidr",
    790: "money", 18: "char", 705: "unknown",
}  # fmt: skip
# Their arrays, by the number of the array's own type.
ARRAYS = {
    1000: BOOL, 1001: BYTEA, 1005: INT2, 1007: INT4, 1016: INT8, 1009: TEXT, 1015: 1043, 1014: 1042,
    1021: FLOAT4, 1022: FLOAT8, 1028: OID, 1115: TIMESTAMP, 1185: TIMESTAMPTZ, 1182: DATE, 1231: NUMERIC,
    2951: UUID, 199: JSON, 3807: JSONB, 1003: 19, 1183: 1083, 1187: 1186, 1270: 1266, 1041: 869, 651: 650,
}  # fmt: skip
MOMENT = re.compile(r"(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)(\+00)?", re.ASCII)
TOKEN = re.compile(r'[{}]|"((?:[^"\\]|\\.)*)"|([^{},"]+)', re.DOTALL)
ESCAPED = re.compile(r"\\(.)", re.DOTALL)
DEPTH_MAX = 6


def name_of(oid: int) -> str:
    if oid in ARRAYS:
        return f"{NAMES[ARRAYS[oid]]}[]"
    return NAMES.get(oid, "text")


@lru_cache(maxsize=1024)
def reader(oid: int) -> Read:
    if oid in ARRAYS:
        element = READERS.get(ARRAYS[oid], as_text)
        return lambda text: array(text, element)
    return READERS.get(oid, as_text)


def as_text(text: str) -> str:
    return text


def number(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def real(text: str) -> msgspec.Raw | str:
    return text if text in ("NaN", "Infinity", "-Infinity") else number(text)


def document(text: str) -> msgspec.Raw:
    # Between its values only: inside of them a line's end is written in two characters.
    return msgspec.Raw(text.replace("\n", " ").replace("\r", " ").encode())


def octets(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text.removeprefix("\\x"))).decode()


def moment(text: str) -> str:
    """RFC 3339; what that has no words for, as infinity or a year before Christ, as the database has it."""
    match = MOMENT.fullmatch(text)
    return text if match is None else f"{match[1]}T{match[2]}{'Z' if match[3] else ''}"


READERS: dict[int, Read] = {
    BOOL: lambda text: text == "t",
    INT2: number,
    INT4: number,
    INT8: number,
    OID: number,
    FLOAT4: real,
    FLOAT8: real,
    JSON: document,
    JSONB: document,
    BYTEA: octets,
    TIMESTAMP: moment,
    TIMESTAMPTZ: moment,
}


def array(text: str, read: Read) -> Any:
    # Bounds that do not begin at one stand in front.
    tokens = TOKEN.finditer(text, text.index("{"))
    next(tokens, None)
    return elements(tokens, read)


def elements(tokens: Iterator[re.Match[str]], read: Read) -> list[Any]:
    """An array has six dimensions at most, so this goes no deeper."""
    found: list[Any] = []
    for token in tokens:
        if token[0] == "{":
            found.append(elements(tokens, read))
        elif token[0] == "}":
            break
        elif token[1] is not None:
            found.append(read(ESCAPED.sub(r"\1", token[1])))
        else:
            found.append(None if token[2] == "NULL" else read(token[2]))
    return found


def bind(values: Sequence[Any], oids: Sequence[int]) -> list[bytes | None]:
    return [
        None if value is None else as_parameter(value, oid) for value, oid in zip(values, oids, strict=True)
    ]


def as_parameter(value: Any, oid: int) -> bytes:
    """ValueError for what has no text."""
    if oid in (JSON, JSONB):
        return encoded(value)
    if isinstance(value, list) and oid in ARRAYS:
        return as_array(value, oid, 1).encode()
    return plain(value).encode()


def as_array(values: list[Any], oid: int, depth: int) -> str:
    if depth > DEPTH_MAX:
        raise ValueError("an array has six dimensions at most")
    parts = []
    for value in values:
        if value is None:
            parts.append("NULL")
        elif isinstance(value, list):
            parts.append(as_array(value, oid, depth + 1))
        else:
            text = encoded(value).decode() if ARRAYS[oid] in (JSON, JSONB) else plain(value)
            escaped = text.replace("\\", "\\\\").replace('"', '\\"')
            parts.append(f'"{escaped}"')
    return "{" + ",".join(parts) + "}"


def plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return encoded(value).decode() if isinstance(value, list | dict) else str(value)


def encoded(value: Any) -> bytes:
    return ENCODER.encode(value)


ENCODER = msgspec.json.Encoder(decimal_format="number")
