-- name: read
WITH counted AS (
    INSERT INTO meter_readings (id, organization_id, project_id, endpoint_id, meter, quantity, measured_at)
    SELECT $1, organization_id, id, $3, $4, $5, $6 FROM projects WHERE id = $2
    ON CONFLICT (id) DO NOTHING
    RETURNING organization_id, project_id, meter, quantity, (measured_at AT TIME ZONE 'UTC')::date AS day
)
INSERT INTO meter_days (organization_id, project_id, meter, day, quantity)
SELECT organization_id, project_id, meter, day, quantity FROM counted
ON CONFLICT (project_id, day, meter, compute_units, organization_id) DO UPDATE
SET quantity = meter_days.quantity + EXCLUDED.quantity
RETURNING true

-- name: note
INSERT INTO compute_events (id, organization_id, endpoint_id, event_type, compute_units, happened_at)
SELECT $1, organization_id, $3, $4, $5, $6 FROM projects WHERE id = $2

-- name: begin
INSERT INTO compute_runs (endpoint_id, project_id, compute_units, counted_until, milli_units)
VALUES ($1, $2, $3, date_trunc('second', $4::timestamptz), $5)
ON CONFLICT (endpoint_id) DO NOTHING
RETURNING endpoint_id

-- name: resize
UPDATE compute_runs SET compute_units = $2, milli_units = $3 WHERE endpoint_id = $1

-- name: running
SELECT project_id, compute_units FROM compute_runs WHERE endpoint_id = $1 FOR NO KEY UPDATE

-- name: end
DELETE FROM compute_runs WHERE endpoint_id = $1

-- name: count_runs
-- Whole seconds up to the given time, each on the day that it belongs to. The rest is counted the next time.
-- A row that has seconds of an older process has them as of whole units.
WITH due AS (
    SELECT endpoint_id, project_id, organization_id, compute_units, counted_until,
        coalesce(milli_units, compute_units * 1000) AS milli_units,
        date_trunc('second', $2::timestamptz) AS upto
    FROM compute_runs JOIN projects ON projects.id = project_id
    WHERE ($1::uuid IS NULL OR endpoint_id = $1) AND counted_until < date_trunc('second', $2::timestamptz)
    ORDER BY endpoint_id
    FOR NO KEY UPDATE OF compute_runs
), moved AS (
    UPDATE compute_runs SET counted_until = upto FROM due WHERE compute_runs.endpoint_id = due.endpoint_id
), parts AS (
    SELECT organization_id, project_id, compute_units, milli_units, (start AT TIME ZONE 'UTC')::date AS day,
        extract(epoch FROM least(upto, start + interval '1 day') - greatest(counted_until, start)) AS seconds
    FROM due, generate_series(date_trunc('day', counted_until, 'UTC'), upto, interval '1 day') AS start
)
INSERT INTO meter_days (organization_id, project_id, meter, compute_units, day, quantity, milli_unit_seconds)
SELECT organization_id, project_id, 'active_seconds', compute_units, day, sum(seconds), sum(seconds * milli_units)
FROM parts
WHERE seconds > 0 GROUP BY organization_id, project_id, compute_units, day
ORDER BY project_id, day, compute_units
ON CONFLICT (project_id, day, meter, compute_units, organization_id) DO UPDATE
SET quantity = meter_days.quantity + EXCLUDED.quantity,
    milli_unit_seconds = coalesce(meter_days.milli_unit_seconds, meter_days.quantity * meter_days.compute_units * 1000)
        + EXCLUDED.milli_unit_seconds
