"""What an agent and its clients write to each other: the interface's own values as JSON, and its refusals."""

from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from control.computes.provider import (
    HEAD,
    REFUSALS,
    Address,
    At,
    Capabilities,
    ComputeEvent,
    ComputeSpec,
    ComputeState,
    ComputeUnavailable,
    StopMode,
    TimelineInfo,
    TimelineSpec,
    Unsupported,
)
from gateway.kit.problem import Refusal

T = TypeVar("T")

BEAT_SECONDS: Final = 10.0
"""A held request says something this often, so that either side learns that the other one is gone."""


@dataclass(frozen=True, slots=True)
class Creation:
    spec: TimelineSpec
    source: str | None = None
    at: At = HEAD


@dataclass(frozen=True, slots=True)
class Retention:
    seconds: int


@dataclass(frozen=True, slots=True)
class Start:
    timeline: str
    spec: ComputeSpec


@dataclass(frozen=True, slots=True)
class Restart:
    spec: ComputeSpec


@dataclass(frozen=True, slots=True)
class Stop:
    mode: StopMode = "fast"


@dataclass(frozen=True, slots=True)
class Traffic:
    endpoints: tuple[str, ...]


# Compiled once: an adapter takes longer to make than to use.
ADAPTERS: Final[dict[type, TypeAdapter[Any]]] = {
    kind: TypeAdapter(kind)
    for kind in (
        Address, At, Capabilities, ComputeEvent, ComputeState, Creation, Restart, Retention, Start, Stop,
        TimelineInfo, Traffic,
    )
}  # fmt: skip


def written(value: object) -> bytes:
    return ADAPTERS[type(value)].dump_json(value)


def read(kind: type[T], text: bytes) -> T:
    found: T = ADAPTERS[kind].validate_json(text)
    return found


def problem_of(refusal: Refusal) -> dict[str, Any]:
    told = refusal.problem().model_dump(exclude_none=True)
    return told | {"capability": refusal.capability} if isinstance(refusal, Unsupported) else told


def refusal_of(status: int, text: bytes) -> Refusal:
    """The refusal that the agent raised, as the same type here."""
    try:
        told = TypeAdapter(dict[str, Any]).validate_json(text)
    except ValidationError:
        return ComputeUnavailable(f"the agent of the databases answered {status}")
    if told.get("code") == Unsupported.slug:
        return Unsupported(str(told.get("capability")))
    for kind in REFUSALS:
        if kind.slug == told.get("code"):
            return kind(str(told.get("detail")))
    return ComputeUnavailable(f"the agent of the databases answered {status}: {told.get('detail')}")
