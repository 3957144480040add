-- name: plan
SELECT plan_id FROM organization_plans
WHERE organization_id = $1 AND started_at <= now() AND (ends_at IS NULL OR ends_at > now())

-- name: plan_after
SELECT plan_id FROM organization_plans WHERE organization_id = $1 AND started_at > now()

-- name: lock
-- NO KEY, so that rows which refer to the organization are inserted meanwhile: calls write some.
SELECT id FROM organizations WHERE id = $1 FOR NO KEY UPDATE

-- name: used
WITH month AS (SELECT date_trunc('month', now(), 'UTC') AS start), days AS (
    SELECT (start AT TIME ZONE 'UTC')::date AS first, greatest(1, ceil(extract(epoch FROM now() - start) / 3600)) AS hours
    FROM month
)
SELECT (SELECT count(*) FROM projects WHERE organization_id = $1 AND deleted_at IS NULL) AS projects,
    (SELECT count(*) FROM members WHERE organization_id = $1) AS members,
    (
        SELECT count(*) FROM api_keys
        WHERE organization_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
    ) AS api_keys,
    (SELECT count(*) FROM publishers WHERE organization_id = $1 AND deleted_at IS NULL) AS publishers,
    -- Besides the one that each project comes with.
    (
        SELECT count(*) FROM branches JOIN projects ON projects.id = branches.project_id
        WHERE organization_id = $1 AND projects.deleted_at IS NULL AND branches.deleted_at IS NULL AND NOT is_default
    ) AS branches,
    (
        SELECT coalesce(sum(calls), 0)::bigint FROM usage_days, days
        WHERE organization_id = $1 AND day >= first AND outcome IN ('charged', 'free')
    ) AS calls_per_month,
    (
        SELECT coalesce(floor(sum(coalesce(milli_unit_seconds, quantity * compute_units * 1000)) / 1000), 0) FROM meter_days, days
        WHERE organization_id = $1 AND day >= first AND meter = 'active_seconds'
    ) AS compute_seconds,
    (
        SELECT coalesce(floor(sum(quantity / hours)), 0) FROM meter_days, days
        WHERE organization_id = $1 AND day >= first AND meter = 'storage_byte_hours'
    ) AS storage_bytes

-- name: warn
INSERT INTO quota_warnings (organization_id, quota, month, percent)
SELECT $1, $2, (date_trunc('month', now(), 'UTC') AT TIME ZONE 'UTC')::date, percent FROM unnest($3::smallint[]) AS percent
ON CONFLICT DO NOTHING
RETURNING percent

-- name: owners
SELECT users.email, users.name, organizations.name AS organization
FROM members JOIN users ON users.id = members.user_id JOIN organizations ON organizations.id = members.organization_id
WHERE members.organization_id = $1 AND members.role = 'owner' AND users.email_verified_at IS NOT NULL

-- name: active
-- Whoever used anything today, and how much in this month; the others are where they were.
WITH month AS (SELECT date_trunc('month', now(), 'UTC') AS start), days AS (
    SELECT (start AT TIME ZONE 'UTC')::date AS first, greatest(1, ceil(extract(epoch FROM now() - start) / 3600)) AS hours
    FROM month
), found AS (
    SELECT organization_id FROM (
        SELECT organization_id FROM usage_days
        WHERE day >= (now() AT TIME ZONE 'UTC')::date AND organization_id IS NOT NULL
        UNION
        SELECT organization_id FROM meter_days WHERE day >= (now() AT TIME ZONE 'UTC')::date
    ) AS today
    WHERE organization_id > $1 AND organization_id <> '00000000-0000-7000-8000-000000000000'
    ORDER BY organization_id LIMIT $2
)
SELECT found.organization_id, chosen.plan_id, calls.calls_per_month, meters.compute_seconds, meters.storage_bytes
FROM found CROSS JOIN days
LEFT JOIN organization_plans AS chosen ON chosen.organization_id = found.organization_id AND chosen.started_at <= now()
    AND (chosen.ends_at IS NULL OR chosen.ends_at > now())
CROSS JOIN LATERAL (
    SELECT coalesce(sum(usage_days.calls), 0)::bigint AS calls_per_month FROM usage_days
    WHERE usage_days.organization_id = found.organization_id AND day >= first AND outcome IN ('charged', 'free')
) AS calls
CROSS JOIN LATERAL (
    SELECT coalesce(floor(sum(coalesce(milli_unit_seconds, quantity * compute_units * 1000))
            FILTER (WHERE meter = 'active_seconds') / 1000), 0) AS compute_seconds,
        coalesce(floor(sum(quantity / hours) FILTER (WHERE meter = 'storage_byte_hours')), 0) AS storage_bytes
    FROM meter_days WHERE meter_days.organization_id = found.organization_id AND day >= first
) AS meters
ORDER BY found.organization_id

-- name: block
INSERT INTO quota_blocks (organization_id, until)
SELECT $1, (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC'
ON CONFLICT (organization_id) DO UPDATE SET until = EXCLUDED.until WHERE quota_blocks.until <> EXCLUDED.until

-- name: release
DELETE FROM quota_blocks WHERE organization_id = $1

-- name: prune_blocks
DELETE FROM quota_blocks WHERE until <= now()

-- name: prune_warnings
DELETE FROM quota_warnings WHERE month < now() - interval '1 year'
