"""What an agent and its clients write to each other: the interface's own values as JSON, and its refusals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from control.computes.provider import (
    HEAD,
    REFUSALS,
    At,
    ComputeSpec,
    ComputeUnavailable,
    SlotsLeft,
    StopMode,
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
class Slots:
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DiskLimit:
    size: Annotated[int, Field(ge=0)] | None


@dataclass(frozen=True, slots=True)
class Traffic:
    moved: Mapping[str, tuple[int, int]]
    """Bytes to and from clients, by endpoint."""


ADAPTERS: Final[dict[type, TypeAdapter[Any]]] = {}


def adapter(kind: type) -> TypeAdapter[Any]:
    """Made when it is needed: that takes longer than to use it, and most processes ask little."""
    if kind not in ADAPTERS:
        ADAPTERS[kind] = TypeAdapter(kind)
    return ADAPTERS[kind]


def written(value: object) -> bytes:
    return adapter(type(value)).dump_json(value)


def read(kind: type[T], text: bytes) -> T:
    found: T = adapter(kind).validate_json(text)
    return found


def problem_of(refusal: Refusal) -> dict[str, Any]:
    told = refusal.problem().model_dump(exclude_none=True)
    if isinstance(refusal, Unsupported):
        told["capability"] = refusal.capability
    elif isinstance(refusal, SlotsLeft):
        told["slots"] = refusal.slots
    return told


def refusal_of(status: int, text: bytes) -> Refusal:
    """The refusal that the agent raised, as the same type here."""
    try:
        told = TypeAdapter(dict[str, Any]).validate_json(text)
    except ValidationError:
        return ComputeUnavailable(f"the agent of the databases answered {status}")
    if told.get("code") == Unsupported.slug:
        return Unsupported(str(told.get("capability")))
    if told.get("code") == SlotsLeft.slug:
        return SlotsLeft([str(name) for name in told.get("slots", ())])
    for kind in REFUSALS:
        if kind.slug == told.get("code"):
            return kind(str(told.get("detail")))
    return ComputeUnavailable(f"the agent of the databases answered {status}: {told.get('detail')}")
