"""What is said alike of a publisher's calls that came equally far and ended alike, found out for the first of
them; and what is another in each, found out for many at once, in columns.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise, repeat
from operator import sub
from typing import Any, TypeAlias
from uuid import UUID

import msgspec
from prometheus_client import Counter

from gateway.kit.values import dataclass
from gateway.metering.watch import RECALLED, Known, Stage, Watch

MICROSECONDS = 1_000_000
NANOSECONDS = 1_000_000_000
# Where something else is said in each line. JSON has no such character, it would be written otherwise.
HOLE = "\0"
NUMBERS_MAX = 20_000

# Before what is known of a call's head.
FIRST = ("timestamp", "level", "event", "call_id")

Line: TypeAlias = dict[str, Any]
Row: TypeAlias = "tuple[Ending, UUID, Known, str | None, list[int]]"
"""A call that has ended: its id, what is known of its head, its payer, and when each stage began and the last
one ended.
"""


class Alike:
    """Calls that came equally far, of which nothing was said yet: what is said of them is found out in
    columns.
    """

    __slots__ = ("holes", "is_failed", "is_socket", "rows", "stages")

    def __init__(self, stages: tuple[Stage, ...], *, is_socket: bool, is_failed: bool) -> None:
        self.stages, self.is_socket, self.is_failed = stages, is_socket, is_failed
        self.rows: list[Row] = []
        spent = ",".join(f'"{stage}":{HOLE}' for stage in stages)
        self.holes = {
            "timestamp": raw(f'"{HOLE}.{HOLE}Z"'),
            "call_id": raw(f'"{HOLE}",{HOLE}'),
            "ms": raw(HOLE),
            "stages_ms": raw(f"{{{spent}}}"),
        }
        """What is another in each line, as it is written but for what it says."""


def raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


PAID = {"payer": raw(HOLE)}
# Who has no payer says so with nothing, so that as much is filled into each line.
UNPAID = {"ms": raw(HOLE * 2)}


class Ending:
    __slots__ = ("alike", "counters", "line", "offered", "pieces")

    def __init__(
        self, alike: Alike, counters: Sequence[Counter], offered: UUID | None, line: Line | None
    ) -> None:
        self.alike = alike
        """Where calls wait that ended so, and others that came as far."""
        self.counters = counters
        self.offered = offered
        """Whose price was told."""
        self.line = line
        """What the log says, but for what is another in each; None where nobody wants to know."""
        self.pieces: list[str] = []
        """The line as it is written; every second piece is another in each. Empty until it is asked for."""

    def cut(self) -> list[str]:
        assert self.line is not None, "who reads lines has them made"
        line = self.line | self.alike.holes | (PAID if "payer" in self.line else UNPAID)
        texts = f"{msgspec.json.encode(line).decode()}\n".split(HOLE)
        self.pieces = [""] * (2 * len(texts) - 1)
        self.pieces[::2] = texts
        return self.pieces


@dataclass(frozen=True, slots=True)
class Ended:
    """Calls that came equally far, in columns. Times are in whole microseconds."""

    stages: tuple[Stage, ...]
    endings: Sequence[Ending]
    call_ids: Sequence[UUID]
    known: Sequence[Known]
    payers: Sequence[str | None]
    second: int
    """When the first of them had ended, since the epoch."""
    ended: Sequence[int]
    """Since that second."""
    lasted: Sequence[int]
    spent: Sequence[Sequence[int]]
    """In each stage."""


def facts_of(watch: Watch) -> tuple[Any, ...] | None:
    """All that calls are told apart by in what is said of how they ended; None for one of which something is
    said that is not said of the next one that ends like it.
    """
    if watch.trace is not None or watch.error is not None or watch.first_call_id is not None:
        return None
    match, head, receipt, refusal = watch.match, watch.head, watch.receipt, watch.refusal
    route = None if match is None else match.route
    return (
        watch.order is RECALLED,
        len(watch.entered),
        watch.status,
        watch.broken,
        None if route is None else (route.slug, route.publisher_id),
        None if head is None else head.status,
        watch.rail,
        watch.payer is None,
        None if receipt is None else (receipt.rail, receipt.cost, receipt.asset and receipt.asset.id),
        None if refusal is None else (type(refusal), getattr(refusal, "error", None)),
    )


def ended(alike: Alike, rows: Sequence[Row], since: int) -> Ended:
    """``since`` is when the clock of a watch began, since the epoch."""
    endings, call_ids, known, payers, entered = zip(*rows, strict=True)
    moments = list(zip(*entered, strict=True))
    spent = [micro(map(sub, after, before)) for before, after in pairwise(moments)]
    lasted = micro(map(sub, moments[-1], moments[0]))
    # Small numbers from here on: large ones take several times as long.
    second = (since + moments[-1][0]) // NANOSECONDS
    ended_at = micro(map(sub, moments[-1], repeat(second * NANOSECONDS - since)))
    return Ended(alike.stages, endings, call_ids, known, payers, second, ended_at, lasted, spent)


def micro(nanoseconds: Iterable[int]) -> list[int]:
    return [one // 1000 for one in nanoseconds]


def texts(calls: Ended) -> Iterator[str]:
    """Their lines, as JSON, to the last character."""
    seconds = [second_of(calls.second + moment // MICROSECONDS) for moment in calls.ended]
    fractions = [f"{moment % MICROSECONDS:06d}" for moment in calls.ended]
    payers = ["" if payer is None else quoted(payer) for payer in calls.payers]
    numbers = [map(NUMBERS.__getitem__, column) for column in (calls.lasted, *calls.spent)]
    call_ids, known = map(str, calls.call_ids), [one.text for one in calls.known]
    said = zip(seconds, fractions, call_ids, known, payers, *numbers, strict=True)
    for ending, row in zip(calls.endings, said, strict=True):
        pieces = (ending.pieces or ending.cut()).copy()
        pieces[1::2] = row
        yield "".join(pieces)


def lines(calls: Ended) -> Iterator[Line]:
    """The same for whoever wants it otherwise."""
    said = zip(calls.call_ids, calls.known, calls.payers, calls.ended, calls.lasted, strict=True)
    for ending, (call_id, known, payer, moment, lasted), *spent in zip(
        calls.endings, said, *calls.spent, strict=True
    ):
        assert ending.line is not None, "who reads lines has them made"
        line = dict.fromkeys(FIRST) | known.line | ending.line
        line["timestamp"] = datetime.fromtimestamp(calls.second, UTC) + timedelta(microseconds=moment)
        line["call_id"] = call_id
        if payer is not None:
            line["payer"] = payer
        line["ms"] = lasted / 1000
        line["stages_ms"] = {stage: one / 1000 for stage, one in zip(calls.stages, spent, strict=True)}
        yield line


@lru_cache(maxsize=16)
def second_of(since_epoch: int) -> str:
    return datetime.fromtimestamp(since_epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@lru_cache(maxsize=1024)
def quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()


class Numbers(dict[int, str]):
    """Milliseconds as they are written, by microseconds. Most calls take as long as some call before."""

    def __missing__(self, microseconds: int) -> str:
        text = str(microseconds / 1000)
        if len(self) < NUMBERS_MAX:
            self[microseconds] = text
        return text


NUMBERS = Numbers()
