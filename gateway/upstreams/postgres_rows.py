"""Rows as a body: JSON, lines of JSON, or CSV. What was passed on is counted, because it is paid for."""

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

import msgspec

from gateway.options import Format
from gateway.upstreams import postgres_values as values

TYPES: Final[dict[Format, str]] = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
}
# In CSV a value is what the database writes, but for times, which read the same everywhere.
MOMENTS = (values.TIMESTAMP, values.TIMESTAMPTZ)


SPECIAL: Final = re.compile(r'[",\r\n]')


class Writer:
    def __init__(self, format_: Format, columns: Sequence[tuple[str, int]]) -> None:
        self.format = format_
        self.names = distinct([name for name, _ in columns])
        self.types = [oid for _, oid in columns]
        self.readers = [values.reader(oid) for oid in self.types]
        self.row_count = 0

    def begin(self) -> bytes:
        if self.format == "json":
            described = [
                {"name": name, "type": values.name_of(oid)}
                for name, oid in zip(self.names, self.types, strict=True)
            ]
            return b'{"columns":' + msgspec.json.encode(described) + b',"rows":['
        return line(self.names) if self.format == "csv" else b""

    def row(self, texts: Sequence[str | None]) -> bytes:
        self.row_count += 1
        if self.format == "csv":
            return line(
                values.moment(text) if text is not None and oid in MOMENTS else text
                for text, oid in zip(texts, self.types, strict=True)
            )
        made: dict[str, Any] = {
            name: None if text is None else read(text)
            for name, text, read in zip(self.names, texts, self.readers, strict=True)
        }
        content = msgspec.json.encode(made)
        if self.format == "ndjson":
            return content + b"\n"
        return content if self.row_count == 1 else b"," + content

    def end(self, *, is_truncated: bool) -> bytes:
        if self.format != "json":
            return b""
        told = {"row_count": self.row_count, "truncated": is_truncated}
        return b"]," + msgspec.json.encode(told)[1:]


def distinct(names: Sequence[str]) -> list[str]:
    """A statement may call two columns the same; a JSON object may not."""
    found: list[str] = []
    taken = set(names)
    for name in names:
        made, number = name, 2
        while made in found:
            made = f"{name}_{number}"
            number += 1
            if made in taken:
                continue
        found.append(made)
    return found


def line(cells: Iterable[str | None]) -> bytes:
    """RFC 4180. Null is nothing, and empty text is quoted, as in the database's own CSV."""
    return (",".join("" if cell is None else quoted(cell) for cell in cells) + "\r\n").encode()


def quoted(cell: str) -> str:
    if cell and not SPECIAL.search(cell):
        return cell
    escaped = cell.replace('"', '""')
    return f'"{escaped}"'


class Counted(AsyncIterator[bytes]):
    """The body, and how much has been taken of it."""

    def __init__(self, ahead: list[tuple[bytes, int]], rest: AsyncIterator[tuple[bytes, int]] | None) -> None:
        self.ahead, self.rest = ahead[::-1], rest
        self.row_count = self.byte_count = 0

    async def __anext__(self) -> bytes:
        if self.ahead:
            chunk, count = self.ahead.pop()
        elif self.rest is not None:
            chunk, count = await anext(self.rest)
        else:
            raise StopAsyncIteration
        self.row_count += count
        self.byte_count += len(chunk)
        return chunk
