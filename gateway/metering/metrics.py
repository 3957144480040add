"""What Prometheus sees. Labels are few and bounded: never a caller, a path or a payment.

Processes write to the directory that the supervisor names; the supervisor's ``/metrics`` adds them up, and
keeps the ``publisher`` label to the busiest.
"""

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
STAGE_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, *SECONDS)

CALLS = Counter(
    "farebox_calls",
    "Calls by publisher, how they are paid, how they ended, and the class of their status.",
    ["publisher", "rail", "outcome", "status"],
)
BROKEN = Counter("farebox_calls_broken", "Answers that broke off after their head, by whose doing.", ["by"])
CALL_SECONDS = Histogram(
    "farebox_call_seconds",
    "From the request's head to the end of the answer, refusals included.",
    buckets=SECONDS,
)
STAGE = Histogram(
    "farebox_stage_seconds", "What each stage of a call took.", ["stage"], buckets=STAGE_SECONDS
)
REFUSALS = Counter("farebox_refusals", "Answers with a problem, by its slug.", ["problem"])
CHARGED = Counter(
    "farebox_charged_atomic", "Charged, in atomic units of the asset.", ["asset", "network", "rail"]
)
REPLAYS = Counter("farebox_replays", "Kept answers that were given again.", ["rail"])
SETTLEMENTS = Counter("farebox_settlements", "x402 settlements, by outcome.", ["network", "outcome"])
IN_FLIGHT = Gauge("farebox_calls_in_flight", "Calls being served.", multiprocess_mode="livesum")
LIMITS_SHARED = Gauge(
    "farebox_limits_shared", "1 while rate limits are shared by all processes.", multiprocess_mode="livemin"
)
LIMITS_LOCAL = Counter(
    "farebox_limits_local", "Limits that a process decided alone because Redis or Valkey was away."
)
BREAKER_OPENED = Counter("farebox_breaker_opened", "Times that an upstream was found failing and left alone.")
UPSTREAMS_RESTING = Gauge(
    "farebox_upstreams_resting", "Publishers whose upstream a process leaves alone now.",
    multiprocess_mode="livemax",
)  # fmt: skip
CONNECTIONS_REFUSED = Counter(
    "farebox_connections_refused", "Connections over a cap, turned away before a request was read."
)
ERRORS = Counter("farebox_errors", "Answers of 500: bugs.")
POSTGRES_CONNECTIONS = Gauge(
    "farebox_postgres_connections", "Pooled connections, by state.", ["state"], multiprocess_mode="livesum"
)
POSTGRES_CONNECTIONS_MAX = Gauge(
    "farebox_postgres_connections_limit", "What the pools may grow to.", multiprocess_mode="livesum"
)
UPSTREAM_CONNECTIONS = Gauge(
    "farebox_upstream_connections",
    "Connections to upstreams, by state.",
    ["state"],
    multiprocess_mode="livesum",
)
QUERIES = Counter(
    "farebox_queries",
    "Statements that publishers' databases were asked, by what came of them.",
    ["kind", "outcome"],
)
QUERY_ROWS = Counter("farebox_query_rows", "Rows of publishers' databases that were passed on.")
QUERY_BYTES = Counter("farebox_query_bytes", "The bytes of these rows, as they were passed on.")
for came_to in ("answered", "stopped", "refused", "lost", "left"):
    QUERIES.labels("sold", came_to)
USAGE_WAITING = Gauge(
    "farebox_usage_rows_waiting", "Usage rows of calls that cost nothing, not written yet.",
    multiprocess_mode="livesum",
)  # fmt: skip
# A process that takes no calls decides no limits, and must not seem to decide them alone.
LIMITS_SHARED.set(1)
for doing in ("caller", "upstream"):
    BROKEN.labels(doing)
JOBS_RAN = Gauge(
    "farebox_jobs_last_run_timestamp_seconds", "When the background jobs last ran; 0 for never.",
    multiprocess_mode="livemax",
)  # fmt: skip
WEBHOOK_ATTEMPTS = Counter("farebox_webhook_attempts", "Attempts to deliver to a webhook.", ["outcome"])
for came_to in ("delivered", "failed", "given_up"):
    WEBHOOK_ATTEMPTS.labels(came_to)
LOGINS = Counter("farebox_logins", "Attempts to sign in, by what came of them.", ["outcome"])
for came_to in ("password", "link", "wrong", "unverified", "suspended", "limited"):
    LOGINS.labels(came_to)
MAILS = Counter("farebox_mails", "Attempts to send a letter.", ["outcome"])
for came_to in ("sent", "postponed", "refused"):
    MAILS.labels(came_to)
PAYMENT_EVENTS = Counter(
    "farebox_payment_events", "Events of payment processors, by what came of them.", ["provider", "outcome"]
)
for provider in ("stripe", "polar"):
    for came_to in ("done", "ignored", "postponed", "failed"):
        PAYMENT_EVENTS.labels(provider, came_to)
# The database's own numbers, which every jobs process reports alike.
HOLDS_OPEN = Gauge(
    "farebox_holds_open", "Holds of prepaid calls, not closed yet.", multiprocess_mode="livemax"
)
HOLDS_EXPIRED = Gauge(
    "farebox_holds_expired", "Open holds past their time, which the sweeper is to void.",
    multiprocess_mode="livemax",
)  # fmt: skip
PURSES_OPEN = Gauge(
    "farebox_purses_open", "Parts of balances that processes have set aside for calls to come.",
    multiprocess_mode="livemax",
)  # fmt: skip
SLIPS_WAITING = Gauge(
    "farebox_slips_waiting", "Batches of charges that are durable and not booked yet.",
    multiprocess_mode="livemax",
)  # fmt: skip
SLIPS_WAITING_SECONDS = Gauge(
    "farebox_slips_waiting_seconds", "The age of the oldest of them.", multiprocess_mode="livemax"
)
SETTLEMENTS_PENDING = Gauge(
    "farebox_settlements_pending", "Payments sent to a chain whose outcome is not known yet.", ["network"],
    multiprocess_mode="livemax",
)  # fmt: skip
SETTLEMENTS_PENDING_SECONDS = Gauge(
    "farebox_settlements_pending_seconds", "The age of the oldest of them.", ["network"],
    multiprocess_mode="livemax",
)  # fmt: skip
PAYOUTS_OPEN = Gauge(
    "farebox_payouts_open", "Payouts that are not decided, by what they wait for.", ["state"],
    multiprocess_mode="livemax",
)  # fmt: skip
PAYOUTS_OPEN_SECONDS = Gauge(
    "farebox_payouts_open_seconds", "The age of the oldest of them.", ["state"], multiprocess_mode="livemax"
)
PROMOTION_BUDGET = Gauge(
    "farebox_promotion_budget_atomic", "What can still be given away, in atomic units of the asset.",
    ["asset", "network"], multiprocess_mode="livemax",
)  # fmt: skip
PROMOTION_BUDGET_LOW = Gauge(
    "farebox_promotion_budget_low", "1 while that is little and something is offered.",
    ["asset", "network"], multiprocess_mode="livemax",
)  # fmt: skip
WEBHOOKS_WAITING = Gauge(
    "farebox_webhook_deliveries_waiting", "Deliveries that wait for their first or another attempt.",
    multiprocess_mode="livemax",
)  # fmt: skip
PAYMENT_EVENTS_WAITING = Gauge(
    "farebox_payment_events_waiting", "Events of payment processors that are not done yet.",
    multiprocess_mode="livemax",
)  # fmt: skip
PAYMENT_EVENTS_FAILED = Gauge(
    "farebox_payment_events_failed", "Events of payment processors that somebody has to look at.",
    multiprocess_mode="livemax",
)  # fmt: skip
INVOICES_FAILING = Gauge(
    "farebox_invoices_failing", "Invoices of a month that is over which could not be made.",
    multiprocess_mode="livemax",
)  # fmt: skip
INVOICES_OVERDUE = Gauge(
    "farebox_invoices_overdue", "Invoices that are issued, not paid, and past their date.",
    multiprocess_mode="livemax",
)  # fmt: skip
CARD_DEBTS = Gauge(
    "farebox_card_debts", "Refunds and disputes whose money was spent already and is owed.",
    multiprocess_mode="livemax",
)  # fmt: skip
MAILS_WAITING = Gauge(
    "farebox_mails_waiting", "Letters that are not sent yet and can be still.", multiprocess_mode="livemax"
)
MAILS_FAILED = Gauge(
    "farebox_mails_failed", "Letters of the last week that were given up.", multiprocess_mode="livemax"
)
OPERATIONS_OPEN = Gauge(
    "farebox_operations_open",
    "Operations on projects' databases that are not done.",
    multiprocess_mode="livemax",
)
OPERATIONS_OPEN_SECONDS = Gauge(
    "farebox_operations_open_seconds", "The age of the oldest of them.", multiprocess_mode="livemax"
)
OPERATIONS = Counter(
    "farebox_operations", "Attempts at operations on projects' databases, by what came of them.",
    ["action", "outcome"],
)  # fmt: skip
COMPUTES = Gauge(
    "farebox_computes", "Endpoints of projects' databases, by state.", ["state"], multiprocess_mode="livemax"
)
for state in ("idle", "starting", "active", "stopping", "failed"):
    COMPUTES.labels(state)
ROLLUP_SECONDS = Gauge(
    "farebox_usage_rollup_age_seconds", "Since usage was last added up by the hour and the day.",
    multiprocess_mode="livemin",
)  # fmt: skip
RECONCILE_AGE = Gauge(
    "farebox_reconcile_age_seconds", "Since the books were last compared, or since there are any.",
    multiprocess_mode="livemin",
)  # fmt: skip
RECONCILE_DIFFERENCES = Gauge(
    "farebox_reconcile_differences", "What the last comparison of the books found to differ.",
    multiprocess_mode="livemax",
)  # fmt: skip
RECONCILE_OBSTACLES = Gauge(
    "farebox_reconcile_not_compared", "Comparisons that the last one could not make.",
    multiprocess_mode="livemax",
)  # fmt: skip
