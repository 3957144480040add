"""Frozen values that cost no more than other objects.

Making a frozen dataclass takes a call for each of its fields, and a paid call makes a dozen values of up to
twenty. What is imported from here is frozen to mypy, which reads every line of ours, and plain at run time.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool, slots: bool) -> Callable[[type[T]], type[T]]:
        assert frozen, "other values have nothing to gain here"
        return dataclasses.dataclass(slots=slots, unsafe_hash=True)
