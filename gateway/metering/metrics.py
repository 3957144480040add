"""What Prometheus sees. Labels are few and bounded: never a caller, a path or a payment.

Processes write to the directory that the supervisor names; the supervisor's ``/metrics`` adds them up.
"""

from prometheus_client import Counter, Gauge, Histogram

# The busiest publishers have a label of their own, the rest share one.
PUBLISHERS_MAX = 200

CALLS = Counter("farebox_calls", "Calls that reached a publisher's route.", ["publisher", "rail", "status"])
CALL_SECONDS = Histogram(
    "farebox_call_seconds",
    "From the request's head to the end of the answer, refusals included.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
REFUSALS = Counter("farebox_refusals", "Answers with a problem, by its slug.", ["problem"])
REPLAYS = Counter("farebox_replays", "Kept answers that were given again.", ["rail"])
CHARGED = Counter("farebox_charged_atomic", "Charged, in atomic units of the asset.", ["asset", "rail"])
SETTLEMENTS = Counter("farebox_settlements", "x402 settlements, by outcome.", ["network", "outcome"])
IN_FLIGHT = Gauge("farebox_calls_in_flight", "Calls being served.", multiprocess_mode="livesum")
LIMITS_SHARED = Gauge(
    "farebox_limits_shared", "1 while rate limits are shared by all processes.", multiprocess_mode="livemin"
)
BREAKER_OPENED = Counter("farebox_breaker_opened", "Times that an upstream was found failing and left alone.")
CONNECTIONS_REFUSED = Counter(
    "farebox_connections_refused", "Connections over a cap, turned away before a request was read."
)
ERRORS = Counter("farebox_errors", "Answers of 500: bugs.")


class PublisherLabels:
    """Slugs as label values, with a bound. First come, first named; a restart starts over."""

    def __init__(self, names_max: int = PUBLISHERS_MAX) -> None:
        self.names_max = names_max
        self.names: set[str] = set()

    def of(self, slug: str) -> str:
        if slug in self.names or len(self.names) < self.names_max:
            self.names.add(slug)
            return slug
        return "other"
