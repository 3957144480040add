"""Lines of a head that are another in each request: a payment, an id, a trace.

Agents pay each call with another payment and name it by another id, and say all else again. So these lines
are taken out of a head, and what is left is one that came before. A line is taken out only if nobody can read
it in another way: a name of these, once, and a value of visible characters. All else is the parser's.
"""

import re

from multidict import CIMultiDict, CIMultiDictProxy

LINE = re.compile(
    rb"\r\n((?i:payment-signature|x-payment|idempotency-key|traceparent|x-request-id|x-correlation-id)):"
    # Ids are longer than this: a short value is one that is said again, and is remembered with its head.
    rb" ([!-~]{16,8000})(?=\r\n)"
)
LINES_MAX = 6


def taken_out(head: bytes) -> tuple[bytes, dict[str, str]] | None:
    """The head without them, and what they say; None where there is none, or it may be read otherwise."""
    # What is left, a name, its value, what is left behind it, and so on.
    parts = LINE.split(head, LINES_MAX + 1)
    count = len(parts) // 3
    if not 0 < count <= LINES_MAX:
        return None
    moved = {name.decode(): value.decode() for name, value in zip(parts[1::3], parts[2::3], strict=True)}
    if len({name.lower() for name in moved}) < count:
        return None
    return b"".join(parts[::3]), moved


def without(headers: CIMultiDictProxy[str], moved: dict[str, str]) -> CIMultiDictProxy[str] | None:
    """The fields but for these; None where the parser has not read them so."""
    if any(headers.getall(name, ()) != [value] for name, value in moved.items()):
        return None
    rest = CIMultiDict(headers)
    for name in moved:
        del rest[name]
    return CIMultiDictProxy(rest)


def with_these(headers: CIMultiDictProxy[str], moved: dict[str, str]) -> CIMultiDictProxy[str]:
    whole = CIMultiDict(headers)
    whole.update(moved)
    return CIMultiDictProxy(whole)
