"""Which headers end at the gateway, in either direction.

Source: RFC 9110 section 7.6.1 for hop-by-hop headers, RFC 9112 section 6 for framing. The rest are ours: what
proves who calls or pays is for the gateway only, and what an upstream says about payments is not for callers
to believe.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from multidict import CIMultiDict, CIMultiDictProxy

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
    }
)
# The gateway writes these itself, so whatever a client claims in them is dropped.
FORWARDED = frozenset(
    {
        "forwarded", "x-real-ip", "x-client-ip", "client-ip", "x-cluster-client-ip", "cf-connecting-ip",
        "true-client-ip", "remote-user", "x-original-url", "x-rewrite-url",
    }
)  # fmt: skip
OWN = frozenset(
    {"authorization", "cookie", "settlement-overrides", "sign-in-with-x", "x-agent-wallet", "x-max-price"}
)
OVERRIDES = frozenset({"x-http-method-override", "x-http-method", "x-method-override"})
REQUEST_DROPPED = HOP_BY_HOP | FORWARDED | OWN | OVERRIDES | {"host", "content-length", "expect"}
# A cookie set by one publisher would be sent to every other, because all share the gateway's origin.
# So would anything that speaks for the whole origin.
RESPONSE_DROPPED = HOP_BY_HOP | {
    "service-worker-allowed",
    "clear-site-data",
    "strict-transport-security",
    "nel",
    "report-to",
    "set-cookie",
    "set-cookie2",
    "settlement-overrides",
    "extension-responses",
    "alt-svc",
}
# A publisher's page is on the origin that people are signed in at. In a sandbox it has an origin of its own
# and runs no script; programs do not notice.
POLICY, SANDBOX = "Content-Security-Policy", "sandbox"
CALL_ID = "X-Farebox-Call-Id"
CHARGED = "X-Farebox-Charged"
# What a reader must know before the body, RFC 9110 section 6.5.1: behind it, it would be somebody's mistake.
TRAILERS_DROPPED = RESPONSE_DROPPED | {
    "age", "authorization", "cache-control", "date", "expires", "location", "retry-after", "server",
    "vary", "warning", "host", "max-forwards", "refresh", "x-frame-options", "x-content-type-options",
}  # fmt: skip
TRAILER_PREFIXES = ("content-", "access-control-", "cross-origin-", "proxy-", "www-", "if-")
DESCRIBING = frozenset({"range", "user-agent", "cache-control", "idempotency-key", "traceparent", "prefer"})
NAMES_MAX = 64
NAMES_CHARACTERS_MAX = 2048
PREFIXES = ("proxy-", "x-forwarded-", "payment-", "x-payment", "x-farebox-")


def describes(name: str) -> bool:
    """Whether a header says something about this request or its body, rather than about its sender."""
    plain = name.lower()
    return plain in DESCRIBING or plain.startswith(("accept", "content-", "if-"))


def of_request(headers: CIMultiDictProxy[str]) -> CIMultiDictProxy[str]:
    """The client's headers that a publisher's upstream may see."""
    return CIMultiDictProxy(keep(headers, REQUEST_DROPPED))


def of_response(headers: CIMultiDictProxy[str]) -> CIMultiDictProxy[str]:
    """The upstream's headers that a caller may see, beside its own policy if it has one: both hold."""
    kept = keep(headers, RESPONSE_DROPPED)
    kept.add(POLICY, SANDBOX)
    return CIMultiDictProxy(kept)


def of_trailers(trailers: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """Those of an upstream that a caller may see behind its body."""
    return [
        (name, value)
        for name, value in trailers
        if not (
            is_dropped(name, TRAILERS_DROPPED) or plain_of(name).startswith(TRAILER_PREFIXES) or is_key(value)
        )
    ]


def keep(headers: CIMultiDictProxy[str], dropped: frozenset[str]) -> CIMultiDict[str]:
    kept = CIMultiDict(headers)
    # Nearly all requests have the same few sets of names, so each set is looked through once.
    for name in dropped_of(tuple(headers), dropped):
        kept.popall(name, None)
    if "Connection" in headers:
        named = set(connection_options(headers.getall("Connection")))
        for name in {name for name in kept if plain_of(name) in named}:
            kept.popall(name, None)
    if is_key("\n".join(kept.values())):
        return CIMultiDict((name, one) for name, one in kept.items() if not is_key(one))
    return kept


def dropped_of(names: tuple[str, ...], dropped: frozenset[str]) -> tuple[str, ...]:
    # What is remembered must not be as large as a stranger can make it.
    is_short = len(names) <= NAMES_MAX and len("".join(names)) <= NAMES_CHARACTERS_MAX
    return find_dropped(names, dropped) if is_short else find_dropped.__wrapped__(names, dropped)


@lru_cache(maxsize=2048)
def find_dropped(names: tuple[str, ...], dropped: frozenset[str]) -> tuple[str, ...]:
    return tuple({name for name in names if is_dropped(name, dropped)})


def is_dropped(name: str, dropped: frozenset[str]) -> bool:
    plain = plain_of(name)
    return plain in dropped or plain.startswith(PREFIXES)


def plain_of(name: str) -> str:
    # Some servers read X_Forwarded_For as X-Forwarded-For, so the two are one name here.
    return name.lower().replace("_", "-")


def connection_options(values: Iterable[str]) -> Iterable[str]:
    for value in values:
        for option in value.split(","):
            yield option.strip().lower()


def is_key(value: str) -> bool:
    """A caller that puts its key into another header, ``X-API-Key`` say, does not hand it to a publisher."""
    return "fb_live_" in value or "fb_test_" in value or "brk_" in value
