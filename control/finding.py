"""What ``farebox doctor`` found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """``remedy`` is None when all is well."""

    subject: str
    detail: str
    remedy: str | None = None
