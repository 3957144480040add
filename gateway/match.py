"""Stage 2 of 9, after admit, before identify: find what is asked for, once.

The URL that leaves here is the one that is priced and the one that is requested, byte for byte. A path that a
server might read in a second way is refused, and a documented endpoint also catches the spellings (case, a
slash, space or dot at the end, ``;`` parameters) that some servers take for it: a protected path has no back
door.
"""

import re
from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import unquote

from gateway.kit.problem import NotFound, Refusal, invalid
from gateway.snapshot import Snapshot
from gateway.types import Inbound, Match, Route

# Outside these a path needs percent-encoding: RFC 3986 section 3.3.
PLAIN = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*", re.ASCII)
# Segments with nothing in them that two servers could read in two ways: no encoding, no parameters, no dots
# in front.
SIMPLE = re.compile(r"(?:/[A-Za-z0-9\-_~!$&'()*+,=:@][A-Za-z0-9\-._~!$&'()*+,=:@]*)*", re.ASCII)
# Encoded slash, backslash, control characters, and anything encoded twice.
AMBIGUOUS = re.compile(r"%(?:2f|5c|[01][0-9a-f]|7f|25(?=[0-9a-f]{2}))", re.ASCII | re.IGNORECASE)
TWICE = re.compile(r"%[0-9A-Fa-f]{2}", re.ASCII)
Spelling: TypeAlias = Callable[[tuple[str, ...]], tuple[str, ...]]
QUERY = re.compile(r"[!-~]*", re.ASCII)


class EndpointUnknown(NotFound):
    slug, title = "endpoint-not-found", "Endpoint not found"


class EndpointProtected(Refusal):
    status, slug, title = 403, "endpoint-protected", "Endpoint protected"


def match(snapshot: Snapshot, inbound: Inbound) -> Match:
    route = snapshot.route(inbound.slug)
    if route is None:
        raise NotFound(f"no publisher {inbound.slug}")
    segments = read(inbound.path)
    refuse_unwritten(inbound.query)
    position = find(route, inbound.method, segments)
    endpoint = None if position is None else route.endpoints[position]
    if endpoint is None and route.undocumented == "default_deny":
        raise EndpointUnknown(f"{route.slug} offers no {inbound.method} {inbound.path or '/'}")
    if endpoint is not None and endpoint.is_protected:
        raise EndpointProtected(endpoint.protection_reason or f"{route.slug} does not sell this endpoint")
    url = route.api_url.rstrip("/") + inbound.path if inbound.path else route.api_url
    return Match(route, endpoint, position, f"{url}?{inbound.query}" if inbound.query else url)


def refuse_unwritten(query: str) -> None:
    """What cannot be sent on as it is."""
    if not QUERY.fullmatch(query):
        raise invalid("query", "has characters that must be percent-encoded")


def read(path: str) -> tuple[str, ...]:
    """The path's segments, decoded; 400 unless every server reads the same ones."""
    if SIMPLE.fullmatch(path):
        return tuple(path.split("/")[1:])
    if not PLAIN.fullmatch(path):
        raise invalid("path", "has characters that must be percent-encoded")
    if AMBIGUOUS.search(path):
        raise invalid("path", "has an encoded slash, backslash or control character, or is encoded twice")
    try:
        segments = tuple(unquote(part, errors="strict") for part in path.split("/")[1:])
    except UnicodeDecodeError:
        raise invalid("path", "is not UTF-8") from None
    bare = [part.partition(";")[0] for part in segments]
    if (
        any(part in (".", "..") for part in bare)
        or "" in bare[:-1]
        or (bare and segments[-1] and not bare[-1])
    ):
        raise invalid("path", "has empty or dot segments")
    if any(TWICE.search(part) for part in segments):
        raise invalid("path", "is encoded twice")
    return segments


def find(route: Route, method: str, segments: tuple[str, ...]) -> int | None:
    """The endpoint's position: as written, and as a server may take it that reads loosely.

    Where the two differ the stricter counts, protected before open and dear before cheap: whichever the
    server means, nobody gets it for less.
    """
    if not route.endpoints:
        return None
    method = "GET" if method == "HEAD" else method
    exact = best(route, method, segments, lambda parts: parts)
    loose = best(route, method, segments, loosen)
    if exact is None or loose is None:
        return loose if exact is None else exact
    return max(exact, loose, key=lambda position: strictness(route, position))


def best(route: Route, method: str, segments: tuple[str, ...], spell: Spelling) -> int | None:
    """The endpoint that fits with the fewest wildcards, the first of equals."""
    spelled = spell(segments)
    fitting = [
        (sum(map(is_wild, endpoint.segments)), position)
        for position, endpoint in enumerate(route.endpoints)
        if endpoint.method == method and fits(spell(endpoint.segments), spelled)
    ]
    return min(fitting)[1] if fitting else None


def strictness(route: Route, position: int) -> tuple[bool, int, int]:
    """An endpoint without a price of its own has the route's, which is dearer than free."""
    endpoint = route.endpoints[position]
    own = max((pricing.endpoint_prices.get(position, 1) for pricing in route.pricing), default=0)
    return endpoint.is_protected, own, -sum(map(is_wild, endpoint.segments))


def fits(pattern: tuple[str, ...], segments: tuple[str, ...]) -> bool:
    if pattern and pattern[-1] == "*":
        pattern, segments = pattern[:-1], segments[: len(pattern) - 1]
    return len(pattern) == len(segments) and all(
        (is_wild(expected) and got != "") or expected == got
        for expected, got in zip(pattern, segments, strict=True)
    )


def loosen(parts: tuple[str, ...]) -> tuple[str, ...]:
    """Every spelling that some server takes for the same path, as one."""
    while parts and not parts[-1]:
        parts = parts[:-1]
    return tuple(part if is_wild(part) else part.partition(";")[0].rstrip(". ").casefold() for part in parts)


def is_wild(part: str) -> bool:
    return part == "*" or part.startswith(":") or (part.startswith("{") and part.endswith("}"))
