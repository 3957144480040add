"""What is said alike of calls that came equally far and ended alike, found out for the first of them."""

from collections.abc import Sequence
from typing import Any, TypeAlias
from uuid import UUID

from prometheus_client import Counter

from gateway.metering.watch import RECALLED, Stage, Watch

Line: TypeAlias = dict[str, Any]


class Ending:
    __slots__ = ("counters", "line", "offered", "stages")

    def __init__(self, stages: tuple[Stage, ...], counters: Sequence[Counter], offered: UUID | None) -> None:
        self.stages, self.counters = stages, counters
        self.offered = offered
        """Whose price was told."""
        self.line: Line | None = None
        """Of the first of them."""


def facts_of(watch: Watch) -> tuple[Any, ...]:
    """All that calls with one head are told apart by in what is said of how they ended."""
    head, hold, receipt, refusal = watch.head, watch.hold, watch.receipt, watch.refusal
    return (
        watch.order is RECALLED,
        len(watch.entered),
        watch.status,
        None if head is None else head.status,
        None if hold is None else hold.event.rail,
        None if receipt is None else (receipt.rail, receipt.cost, receipt.asset and receipt.asset.id),
        None if refusal is None else (type(refusal), getattr(refusal, "error", None)),
    )
