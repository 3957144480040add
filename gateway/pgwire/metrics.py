"""What Prometheus sees of the proxy. Never an endpoint, a role or an address: they are not bounded."""

from prometheus_client import Counter, Gauge, Histogram

CONNECTIONS = Gauge(
    "farebox_pgproxy_connections",
    "Clients that are connected, by kind.",
    ["kind"],
    multiprocess_mode="livesum",
)
ENDED = Counter(
    "farebox_pgproxy_ended",
    "Connections that ended, by the SQLSTATE that their client was told.",
    ["sqlstate"],
)
BYTES = Counter("farebox_pgproxy_bytes", "Bytes between clients and databases.", ["direction"])
WAKES = Counter("farebox_pgproxy_wakes", "Endpoints that were woken, by what came of it.", ["outcome"])
WAKE_SECONDS = Histogram(
    "farebox_pgproxy_wake_seconds",
    "From asking for an endpoint until it accepts connections.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
POOLED = Gauge(
    "farebox_pgproxy_pool_connections",
    "Connections of pools to databases, by state.",
    ["state"],
    multiprocess_mode="livesum",
)
WAITING = Gauge(
    "farebox_pgproxy_pool_waiting", "Pooled clients that wait for a connection.", multiprocess_mode="livesum"
)
CANCELS = Counter("farebox_pgproxy_cancels", "Requests to cancel a query, by what came of them.", ["outcome"])

for direction in ("received", "sent"):
    BYTES.labels(direction)
for outcome in ("woken", "failed", "refused", "limited"):
    WAKES.labels(outcome)
for outcome in ("passed_on", "unknown"):
    CANCELS.labels(outcome)
for kind in ("arriving", "direct", "pooled"):
    CONNECTIONS.labels(kind)
for state in ("busy", "idle"):
    POOLED.labels(state)
