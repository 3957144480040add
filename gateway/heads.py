"""The head of an upstream's answer, and of what is passed on of it."""

from dataclasses import field
from typing import Any

from multidict import CIMultiDictProxy

from gateway.kit.values import dataclass


@dataclass(frozen=True, slots=True)
class Head:
    """The head of an upstream's answer."""

    status: int
    reason: str
    headers: CIMultiDictProxy[str]
    is_success: bool = field(init=False)
    written: dict[tuple[bool, tuple[str, ...]], Any] = field(init=False, default_factory=dict, compare=False)
    """``relay``'s: how it was passed on before, because upstreams say the same again and again."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_success", 200 <= self.status < 300)
