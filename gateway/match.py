"""Stage 2 of 9, after admit, before identify: find what is asked for, once.

The URL that leaves here is the one that is priced and the one that is requested, byte for byte. A path that a
server might read in a second way is refused, and a documented endpoint also catches the spellings (case, a
slash, space or dot at the end, ``;`` parameters) that some servers take for it: a protected path has no back
door.
"""

import re
from collections.abc import Iterable
from urllib.parse import unquote

from gateway.kit.problem import NotFound, Refusal, invalid
from gateway.snapshot import Snapshot
from gateway.types import Inbound, Match, Route

# Outside these a path needs percent-encoding: RFC 3986 section 3.3.
PLAIN = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*", re.ASCII)
# Encoded slash, backslash, control characters, anything encoded twice, and bytes that UTF-8 has no use for but
# lenient decoders take for one of these.
AMBIGUOUS = re.compile(r"%(?:2f|5c|[01][0-9a-f]|7f|c[01]|25(?=[0-9a-f]{2}))", re.ASCII | re.IGNORECASE)
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
    if not QUERY.fullmatch(inbound.query):
        raise invalid("query", "has characters that must be percent-encoded")
    position = find(route, inbound.method, segments)
    endpoint = None if position is None else route.endpoints[position]
    if endpoint is None and route.undocumented == "default_deny":
        raise EndpointUnknown(f"{route.slug} offers no {inbound.method} {inbound.path or '/'}")
    if endpoint is not None and endpoint.is_protected:
        raise EndpointProtected(endpoint.protection_reason or f"{route.slug} does not sell this endpoint")
    url = route.api_url.rstrip("/") + inbound.path if inbound.path else route.api_url
    return Match(route, endpoint, position, f"{url}?{inbound.query}" if inbound.query else url)


def read(path: str) -> tuple[str, ...]:
    """The path's segments, decoded; 400 unless every server reads the same ones."""
    if not PLAIN.fullmatch(path):
        raise invalid("path", "has characters that must be percent-encoded")
    if AMBIGUOUS.search(path):
        raise invalid("path", "has an encoded slash, backslash or control character, or is encoded twice")
    segments = tuple(unquote(part) for part in path.split("/")[1:])
    # Servers that know ";" parameters take them away first: "/..;/" is a way up for them, "/;/" is "//".
    if "" in segments[:-1] or any(
        part.partition(";")[0] in (".", "..") or part[:1] == ";" for part in segments
    ):
        raise invalid("path", "has empty or dot segments")
    return segments


def find(route: Route, method: str, segments: tuple[str, ...]) -> int | None:
    """The endpoint's position: words before wildcards, as written before looser spellings."""
    priced = "GET" if method == "HEAD" else method
    best: tuple[tuple[int, bool, bool], int] | None = None
    loose = tuple(loosen(segments))
    for position, endpoint in enumerate(route.endpoints):
        if endpoint.method != priced:
            continue
        is_exact = fits(endpoint.segments, segments)
        if is_exact or fits(tuple(loosen(endpoint.segments)), loose):
            # Wildcards count first: a loose spelling of a protected word must not pass as a wildcard's value.
            wild = sum(is_wild(part) for part in endpoint.segments)
            rank = (-wild, is_exact, endpoint.is_protected)
            if best is None or rank > best[0]:
                best = rank, position
    return best[1] if best else None


def fits(pattern: tuple[str, ...], segments: tuple[str, ...]) -> bool:
    if pattern and pattern[-1] == "*":
        pattern, segments = pattern[:-1], segments[: len(pattern) - 1]
    return len(pattern) == len(segments) and all(
        (is_wild(expected) and got != "") or expected == got
        for expected, got in zip(pattern, segments, strict=True)
    )


def loosen(segments: Iterable[str]) -> Iterable[str]:
    """Every spelling that some server takes for the same path, as one."""
    parts = list(segments)
    while parts and not parts[-1]:
        parts.pop()
    # Windows drops spaces and dots at the end of a name.
    return [part if is_wild(part) else part.partition(";")[0].rstrip(" .").casefold() for part in parts]


def is_wild(part: str) -> bool:
    return part == "*" or part.startswith(":") or (part.startswith("{") and part.endswith("}"))
