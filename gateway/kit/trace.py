"""W3C Trace Context: the trace that a call belongs to, read from its caller and passed on with our span.

Source: Trace Context level 2, sections 3.2 and 4.2. A header that is not valid counts as none, and its
``tracestate`` with it.
"""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from multidict import CIMultiDictProxy

PARENT = "traceparent"
STATE = "tracestate"
# A version after 00 may say more behind a further dash; what is known of it stays the same.
FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~ ]*)?", re.ASCII)
SAMPLED = 1
# Whether the id is sampled and whether it is random: the flags that have a meaning.
KNOWN_FLAGS = 3

Sampler: TypeAlias = Callable[[str, bool | None], bool]
"""Whether to record a trace, by its id, and by what the caller does about it; None for a trace of our own."""


@dataclass(frozen=True, slots=True)
class Trace:
    trace_id: str
    parent_id: str | None
    """The caller's span; None when the trace begins here."""
    span_id: str
    flags: int

    @property
    def is_sampled(self) -> bool:
        return bool(self.flags & SAMPLED)

    @property
    def header(self) -> str:
        """The ``traceparent`` for whoever is asked next."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def of(headers: CIMultiDictProxy[str], call_id: UUID, sampler: Sampler | None) -> Trace | None:
    """The trace of a call.

    Without a sampler nothing is recorded here, and a call that brings no trace gets none: a flag that says
    "not sampled" would keep its upstream from sampling for itself.
    """
    if sampler is None and PARENT not in headers:
        return None
    given = headers.getall(PARENT, ())
    # No other call has these bits, and the variant among them keeps them from being all zero.
    span_id = call_id.hex[16:]
    if found := read(given[0]) if len(given) == 1 else None:
        trace_id, parent_id, flags = found
        if sampler is not None:
            flags = flags & ~SAMPLED | sampler(trace_id, bool(flags & SAMPLED))
        return Trace(trace_id, parent_id, span_id, flags)
    if sampler is None:
        return None
    trace_id = secrets.token_hex(16)
    return Trace(trace_id, None, span_id, KNOWN_FLAGS & ~SAMPLED | sampler(trace_id, None))


def read(value: str) -> tuple[str, str, int] | None:
    """Trace, span and flags of a ``traceparent``; None for one that is not valid."""
    match = FORM.fullmatch(value)
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return trace_id, span_id, int(flags, 16) & KNOWN_FLAGS
