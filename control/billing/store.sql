-- name: health
SELECT (SELECT rolled_at FROM rollup_marks WHERE name = 'usage') AS rolled_at,
    (SELECT count(*) FROM invoice_runs WHERE finished_at IS NULL AND leased_until < now() - interval '10 minutes')
        AS unfinished

-- name: wrong_days
-- Of what was added up: rows that the mark has not come to yet are not missing.
WITH used AS (
    SELECT (created_at AT TIME ZONE 'UTC')::date AS day, count(*) AS calls, sum(cost) AS cost FROM usage_events
    WHERE created_at >= date_trunc('day', now(), 'UTC') - interval '7 days'
        AND written_in < (SELECT next_in FROM rollup_marks WHERE name = 'usage')
    GROUP BY 1
), added AS (
    SELECT day, sum(calls) AS calls, sum(cost) AS cost FROM usage_days
    WHERE day >= (date_trunc('day', now(), 'UTC') - interval '7 days')::date GROUP BY 1
)
SELECT count(*) FROM used FULL JOIN added USING (day)
WHERE used.calls IS DISTINCT FROM added.calls OR used.cost IS DISTINCT FROM added.cost

-- name: usage
SELECT projects.id AS project_id, projects.name AS project_name, projects.region AS project_region,
    coalesce(sum(quantity) FILTER (WHERE meter = 'active_seconds' AND compute_units = 1), 0) AS small,
    coalesce(sum(quantity) FILTER (WHERE meter = 'active_seconds' AND compute_units = 2), 0) AS medium,
    coalesce(sum(quantity) FILTER (WHERE meter = 'active_seconds' AND compute_units IN (3, 4)), 0) AS large,
    coalesce(sum(quantity) FILTER (WHERE meter = 'active_seconds' AND compute_units > 4), 0) AS xlarge,
    coalesce(sum(coalesce(milli_unit_seconds, quantity * compute_units * 1000)) FILTER (WHERE meter = 'active_seconds'), 0)
        AS compute_milliseconds,
    coalesce(sum(quantity) FILTER (WHERE meter = 'storage_byte_hours'), 0) AS byte_hours
FROM projects LEFT JOIN meter_days ON project_id = projects.id AND day >= $2 AND day <= $3
    AND meter_days.organization_id = $1
WHERE projects.organization_id = $1 AND (projects.deleted_at IS NULL OR meter_days.project_id IS NOT NULL)
GROUP BY projects.id ORDER BY projects.id LIMIT 1000

-- name: readings
SELECT meter, quantity, compute_units, measured_at FROM meter_readings
WHERE endpoint_id = $1 AND organization_id = $2 ORDER BY measured_at DESC LIMIT 100

-- name: transitions
SELECT event_type, happened_at FROM compute_events
WHERE endpoint_id = $1 AND organization_id = $2 ORDER BY happened_at DESC, id DESC LIMIT 100

-- name: subscription
SELECT plan_id, ends_at, cancelled_at, subscription_id FROM organization_plans
WHERE organization_id = $1 AND started_at <= now() AND (ends_at IS NULL OR ends_at > now())

-- name: at_polar
-- The one that the plan is paid by, or else the newest.
SELECT id, status, customer_id, created_by, current_period_end, canceled_at FROM polar_subscriptions
WHERE organization_id = $1 AND status <> 'incomplete'
ORDER BY (id IS NOT DISTINCT FROM $2) DESC, modified_at DESC, id
LIMIT 1

-- name: is_shared
-- Whether a customer of Polar's bought something for another organization as well.
SELECT EXISTS (SELECT FROM polar_subscriptions WHERE customer_id = $1 AND organization_id <> $2)

-- name: email
SELECT email FROM users WHERE id = $1

-- name: stored
SELECT coalesce(sum(quantity), 0) AS byte_hours, (
    SELECT max(measured_at) FROM meter_readings WHERE project_id = $1 AND meter = 'storage_byte_hours' AND measured_at < $3
) AS sampled_at
FROM meter_days
WHERE project_id = $1 AND meter = 'storage_byte_hours' AND day >= ($2::timestamptz AT TIME ZONE 'UTC')::date
    AND day < ($3::timestamptz AT TIME ZONE 'UTC')::date
