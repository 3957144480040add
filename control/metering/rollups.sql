-- name: take
-- Whoever comes second has nothing to do.
SELECT next_in, cluster FROM rollup_marks WHERE name = 'usage' FOR NO KEY UPDATE SKIP LOCKED

-- name: wait
SELECT next_in, cluster FROM rollup_marks WHERE name = 'usage' FOR NO KEY UPDATE

-- name: bounds
-- Asked after the lock was taken, so that it is never behind what the one before saw.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS ended,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS unborn,
    (SELECT system_identifier FROM pg_control_system()) AS cluster

-- name: patience
-- For the first one, or one after a long pause, which may have millions of rows to read.
SELECT set_config('statement_timeout', $1, true)

-- name: forget_hours
DELETE FROM usage_hours

-- name: forget_days
DELETE FROM usage_days

-- name: forget_agents
DELETE FROM agent_days

-- name: forget_routes
DELETE FROM route_days

-- name: add
WITH fresh AS (
    SELECT publisher_id, organization_id, payer, asset_id, rail, outcome, method, route_of(path) AS route,
        date_trunc('hour', created_at, 'UTC') AS hour, count(*) AS calls, sum(cost) AS cost, max(created_at) AS last_at
    FROM usage_events
    WHERE written_in >= $1 AND written_in < $2
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
), hours AS (
    INSERT INTO usage_hours (publisher_id, organization_id, asset_id, rail, outcome, hour, calls, cost)
    SELECT publisher_id, organization_id, asset_id, rail, outcome, hour, sum(calls), sum(cost)
    FROM fresh GROUP BY 1, 2, 3, 4, 5, 6
    ON CONFLICT (publisher_id, hour, organization_id, asset_id, rail, outcome) DO UPDATE
    SET calls = usage_hours.calls + EXCLUDED.calls, cost = usage_hours.cost + EXCLUDED.cost
), days AS (
    INSERT INTO usage_days (publisher_id, organization_id, asset_id, rail, outcome, day, calls, cost)
    SELECT publisher_id, organization_id, asset_id, rail, outcome, (hour AT TIME ZONE 'UTC')::date, sum(calls), sum(cost)
    FROM fresh GROUP BY 1, 2, 3, 4, 5, 6
    ON CONFLICT (publisher_id, day, organization_id, asset_id, rail, outcome) DO UPDATE
    SET calls = usage_days.calls + EXCLUDED.calls, cost = usage_days.cost + EXCLUDED.cost
), agents AS (
    INSERT INTO agent_days (publisher_id, day, organization_id, payer, asset_id, calls, cost, last_at)
    SELECT publisher_id, (hour AT TIME ZONE 'UTC')::date, organization_id, payer, asset_id, sum(calls), sum(cost),
        max(last_at)
    FROM fresh WHERE organization_id IS NOT NULL OR payer IS NOT NULL GROUP BY 1, 2, 3, 4, 5
    ON CONFLICT (publisher_id, day, organization_id, payer, asset_id) DO UPDATE
    SET calls = agent_days.calls + EXCLUDED.calls, cost = agent_days.cost + EXCLUDED.cost,
        last_at = greatest(agent_days.last_at, EXCLUDED.last_at)
), called AS (
    SELECT publisher_id, (hour AT TIME ZONE 'UTC')::date AS day, method, route, asset_id, sum(calls) AS calls,
        coalesce(sum(calls) FILTER (WHERE outcome = 'charged'), 0) AS charged,
        coalesce(sum(calls) FILTER (WHERE outcome NOT IN ('charged', 'free')), 0) AS failed, sum(cost) AS cost
    FROM fresh GROUP BY 1, 2, 3, 4, 5
), listed AS (
    SELECT called.*, (
            SELECT count(DISTINCT (method, route)) FROM route_days AS known
            WHERE known.publisher_id = called.publisher_id AND known.day = called.day
        ) + dense_rank() OVER (PARTITION BY publisher_id, day ORDER BY method, route) <= $3 OR EXISTS (
            SELECT FROM route_days AS known
            WHERE (known.publisher_id, known.day, known.method, known.route)
                = (called.publisher_id, called.day, called.method, called.route)
        ) AS is_listed
    FROM called
), routes AS (
    -- Beyond so many, callers make paths up.
    INSERT INTO route_days (publisher_id, day, method, route, asset_id, calls, charged, failed, cost)
    SELECT publisher_id, day, method, CASE WHEN is_listed THEN route ELSE 'other' END, asset_id, sum(calls),
        sum(charged), sum(failed), sum(cost)
    FROM listed GROUP BY 1, 2, 3, 4, 5
    ON CONFLICT (publisher_id, day, method, route, asset_id) DO UPDATE
    SET calls = route_days.calls + EXCLUDED.calls, charged = route_days.charged + EXCLUDED.charged,
        failed = route_days.failed + EXCLUDED.failed, cost = route_days.cost + EXCLUDED.cost
)
SELECT coalesce(sum(calls), 0)::bigint FROM fresh

-- name: earnings_mark
SELECT next_in, cluster FROM rollup_marks WHERE name = 'earnings'

-- name: forget_earnings
DELETE FROM earned_totals

-- name: add_earnings
-- Usage and what it moved are one commit, so that both are there.
INSERT INTO earned_totals (publisher_id, asset_id, calls, earned, direct)
SELECT publisher_id, accounts.asset_id, coalesce(sum(transfers.calls) FILTER (WHERE transfers.kind = 'charge'), 0),
    coalesce(sum(amount) FILTER (WHERE transfers.kind = 'charge'), 0),
    coalesce(-sum(amount) FILTER (WHERE transfers.kind = 'payout'), 0)
FROM usage_events
    JOIN transfers ON transfers.cause_id = call_id AND transfers.kind IN ('charge', 'payout')
    JOIN entries ON entries.transfer_id = transfers.id
    JOIN accounts ON accounts.id = entries.account_id AND accounts.kind = 'earnings'
WHERE written_in >= $1 AND written_in < $2 AND outcome = 'charged'
GROUP BY publisher_id, accounts.asset_id
ON CONFLICT (publisher_id, asset_id) DO UPDATE
SET calls = earned_totals.calls + EXCLUDED.calls, earned = earned_totals.earned + EXCLUDED.earned,
    direct = earned_totals.direct + EXCLUDED.direct

-- name: move_earnings_mark
UPDATE rollup_marks SET next_in = $1, cluster = $2, rolled_at = now() WHERE name = 'earnings'

-- name: mark
UPDATE rollup_marks SET next_in = $1, cluster = $2, rolled_at = now() WHERE name = 'usage'

-- name: state
SELECT rolled_at, extract(epoch FROM now() - rolled_at)::bigint AS age_seconds FROM rollup_marks WHERE name = 'usage'
