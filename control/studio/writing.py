"""Rows of a database as JSON.

A number that a client's own numbers do not hold exactly is text: bigint and numeric. Bytes are in base64.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from control.studio.models import Column
from control.studio.session import Result
from gateway.upstreams import postgres_values as values
from gateway.upstreams.postgres_rows import distinct


def rows(columns: Sequence[Column], result: Result, limit: int, offset: int) -> bytes:
    return msgspec.json.encode(
        {
            "columns": [column.model_dump(by_alias=True) for column in columns],
            "rows": objects(result),
            "limit": limit,
            "offset": offset,
            "hasMore": result.is_truncated,
        }
    )


def inserted(result: Result) -> bytes:
    # A trigger, or a view's rule, may have made nothing of it.
    made = objects(result)
    return msgspec.json.encode({"inserted": made[0] if made else {}})


def query(result: Result, elapsed_ms: int) -> bytes:
    names = distinct([name for name, _ in result.columns])
    described = [
        {"name": name, "dataType": values.name_of(oid)}
        for name, (_, oid) in zip(names, result.columns, strict=True)
    ]
    return msgspec.json.encode(
        {
            "columns": described,
            "rows": objects(result),
            "rowCount": result.count,
            "command": result.command,
            "elapsedMs": elapsed_ms,
            "truncated": result.is_truncated,
        }
    )


def objects(result: Result) -> list[dict[str, Any]]:
    names = distinct([name for name, _ in result.columns])
    readers = [reader(oid) for _, oid in result.columns]
    return [
        {
            name: None if text is None else read(text)
            for name, text, read in zip(names, row, readers, strict=True)
        }
        for row in result.rows
    ]


@lru_cache(maxsize=1024)
def reader(oid: int) -> values.Read:
    element = values.ARRAYS.get(oid)
    if element in OWN:
        return lambda text: values.array(text, OWN[element])
    return OWN.get(oid) or values.reader(oid)


def octets(text: str) -> str:
    """A statement may have chosen another way of writing them, which stays as it is."""
    return values.octets(text) if text.startswith("\\x") else text


OWN: dict[int | None, values.Read] = {values.INT8: values.as_text, values.BYTEA: octets}
