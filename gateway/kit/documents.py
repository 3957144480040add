"""One value in a JSON document that passes by: the body itself, or the last of a stream's events that has it.

What is kept is bounded, and numbers stay the digits that were sent.
"""

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

# Larger documents are passed on unread.
BYTES_MAX = 1 << 20
AMOUNT = re.compile(r"[0-9]{1,60}(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
# A parser that recurses takes the process down with a document that only opens brackets, where the recursion
# limit is raised as some libraries do. Fewer brackets than this are harmless however they are nested.
DEPTH_MAX = 2000
BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])', re.DOTALL)
LINE_END = re.compile(rb"\r\n|\r|\n")


class Found:
    """Feed it the body as it passes; ``value`` is what stood at the path, or None."""

    def __init__(self, path: Sequence[str], content_type: str) -> None:
        self.path = path
        self.is_stream = content_type.partition(";")[0].strip().lower() == "text/event-stream"
        self.kept = bytearray()
        self.data: list[bytes] = []
        self.data_size = 0
        self.is_too_large = False
        self.last: Any = None

    def feed(self, chunk: bytes) -> None:
        if self.is_stream:
            self.feed_events(chunk)
        elif not self.is_too_large:
            self.is_too_large = len(self.kept) + len(chunk) > BYTES_MAX
            self.kept += b"" if self.is_too_large else chunk

    def value(self) -> Any:
        """At the end of the body, or as much of it as arrived."""
        if self.is_stream:
            self.feed_events(b"\n\n")
            return self.last
        return None if self.is_too_large else at(self.path, bytes(self.kept))

    def feed_events(self, chunk: bytes) -> None:
        """Lines and events as in the HTML standard, section 9.2.6, of which only the data matters."""
        self.kept += chunk
        start = 0
        for end in LINE_END.finditer(self.kept):
            if end.group() == b"\r" and end.end() == len(self.kept):
                # Its newline may be in the next chunk.
                break
            self.line(bytes(self.kept[start : end.start()]))
            start = end.end()
        del self.kept[:start]
        if len(self.kept) > BYTES_MAX:
            # The rest of this line is read as one of its own, and its event is not a document any more.
            self.kept.clear()
            self.is_too_large = True

    def line(self, line: bytes) -> None:
        if not line:
            document = None if self.is_too_large else at(self.path, b"\n".join(self.data))
            self.last = self.last if document is None else document
            self.data, self.data_size, self.is_too_large = [], 0, False
        elif line.startswith(b"data:") and not self.is_too_large:
            self.data.append(line[5:].removeprefix(b" "))
            self.data_size += len(line)
            if self.data_size > BYTES_MAX:
                self.data, self.is_too_large = [], True


def steps(path: str) -> tuple[str, ...]:
    """``usage.cost``, or ``$.usage.cost`` as JSONPath writes it, in its steps; none for no path."""
    plain = path.removeprefix("$").strip(".")
    return tuple(plain.split(".")) if plain else ()


def at(path: Sequence[str], document: bytes) -> Any:
    """What stands at a path of names and positions; None where nothing does, or where this is no JSON."""
    if not document or is_too_deep(document):
        return None
    try:
        found = json.loads(document, parse_float=Decimal)
    except (ValueError, RecursionError, ArithmeticError):
        return None
    for step in path:
        if isinstance(found, dict):
            found = found.get(step)
        elif isinstance(found, list) and step.isascii() and step.isdigit() and len(step) < 7:
            found = found[int(step)] if int(step) < len(found) else None
        else:
            return None
    return found


def is_too_deep(document: bytes) -> bool:
    if document.count(b"[") + document.count(b"{") <= DEPTH_MAX:
        return False
    depth = 0
    for one in BRACKET.finditer(document):
        depth += (one.lastindex == 1) - (one.lastindex == 2)
        if depth > DEPTH_MAX:
            return True
    return False


def amount(value: object) -> Fraction | None:
    """A number or decimal text, exactly; None for anything else, negative numbers among them."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    # By its digits: a number like 1e999999999 is refused before it is computed.
    text = str(value) if not isinstance(value, int) or value.bit_length() < 256 else ""
    return Fraction(text) if AMOUNT.fullmatch(text) else None
