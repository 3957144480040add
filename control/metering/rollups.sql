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

-- name: add
WITH fresh AS (
    SELECT publisher_id, organization_id, asset_id, rail, outcome, date_trunc('hour', created_at, 'UTC') AS hour,
        count(*) AS calls, sum(cost) AS cost
    FROM usage_events
    WHERE written_in >= $1 AND written_in < $2
    GROUP BY 1, 2, 3, 4, 5, 6
), hours AS (
    INSERT INTO usage_hours (publisher_id, organization_id, asset_id, rail, outcome, hour, calls, cost)
    SELECT publisher_id, organization_id, asset_id, rail, outcome, hour, calls, cost FROM fresh
    ON CONFLICT (publisher_id, hour, organization_id, asset_id, rail, outcome) DO UPDATE
    SET calls = usage_hours.calls + EXCLUDED.calls, cost = usage_hours.cost + EXCLUDED.cost
), days AS (
    INSERT INTO usage_days (publisher_id, organization_id, asset_id, rail, outcome, day, calls, cost)
    SELECT publisher_id, organization_id, asset_id, rail, outcome, (hour AT TIME ZONE 'UTC')::date, sum(calls), sum(cost)
    FROM fresh GROUP BY 1, 2, 3, 4, 5, 6
    ON CONFLICT (publisher_id, day, organization_id, asset_id, rail, outcome) DO UPDATE
    SET calls = usage_days.calls + EXCLUDED.calls, cost = usage_days.cost + EXCLUDED.cost
)
SELECT coalesce(sum(calls), 0)::bigint FROM fresh

-- name: mark
UPDATE rollup_marks SET next_in = $1, cluster = $2, rolled_at = now() WHERE name = 'usage'

-- name: state
SELECT rolled_at, extract(epoch FROM now() - rolled_at)::bigint AS age_seconds FROM rollup_marks WHERE name = 'usage'
