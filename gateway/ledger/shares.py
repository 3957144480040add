"""Parts of an amount, exact to the atomic unit. Pure."""

from collections.abc import Mapping
from typing import TypeVar

K = TypeVar("K")


def share(amount: int, rests: Mapping[K, int]) -> dict[K, int]:
    """Spread ``amount`` over what is left of each, in proportion, and never more than is left.

    So parts that are taken one after another come to the whole exactly.
    """
    total = sum(rests.values())
    if not 0 <= amount <= total:
        raise ValueError("there is less than that")
    if not amount:
        return dict.fromkeys(rests, 0)
    parts = {key: amount * rest // total for key, rest in rests.items()}
    missing = amount - sum(parts.values())
    # Fewer units are missing than there are fractions, and a part with a fraction is below what is left.
    for key, rest in sorted(rests.items(), key=lambda one: -(amount * one[1] % total)):
        if missing and parts[key] < rest:
            parts[key] += 1
            missing -= 1
    return parts
