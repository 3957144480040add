-- name: candidates
-- Whoever used something in the month, or has a plan that costs something, in the order of ids.
SELECT id FROM (
    SELECT organization_id AS id FROM usage_days
    WHERE day >= $1 AND day < $2 AND cost > 0 AND organization_id IS NOT NULL
    UNION
    SELECT organization_id FROM meter_days WHERE day >= $1 AND day < $2
    UNION
    SELECT organization_id FROM organization_plans
    WHERE price_cents > 0 AND subscription_id IS NULL AND started_at < $2::date::timestamp AT TIME ZONE 'UTC'
        AND (ends_at IS NULL OR ends_at > $1::date::timestamp AT TIME ZONE 'UTC')
) AS found
WHERE id > $3 AND id <> '00000000-0000-7000-8000-000000000000'
ORDER BY id LIMIT $4

-- name: calls
SELECT publishers.name AS publisher, rail, asset_id, symbol, decimals, sum(calls)::bigint AS calls, sum(cost) AS cost
FROM usage_days JOIN publishers ON publishers.id = publisher_id JOIN assets ON assets.id = asset_id
WHERE usage_days.organization_id = $1 AND day >= $2 AND day < $3 AND cost > 0 AND assets.mode = $4
GROUP BY publishers.id, rail, asset_id, symbol, decimals
ORDER BY publishers.name, publishers.id

-- name: subscriptions
-- A plan ends with its organization. One that is paid at Polar costs nothing here, and includes what it includes.
SELECT plan_id, plan_name, CASE WHEN subscription_id IS NULL THEN price_cents ELSE 0 END AS price_cents, started_at, least(ends_at, deleted_at) AS ends_at
FROM organization_plans JOIN organizations ON organizations.id = organization_id
WHERE organization_id = $1 AND started_at < $3 AND (ends_at IS NULL OR ends_at > $2)
    AND (deleted_at IS NULL OR deleted_at > $2)
ORDER BY started_at, organization_plans.id

-- name: metered
SELECT coalesce(sum(quantity * compute_units) FILTER (WHERE meter = 'active_seconds'), 0) AS compute_seconds,
    coalesce(sum(quantity) FILTER (WHERE meter = 'storage_byte_hours'), 0) AS storage_byte_hours,
    coalesce(sum(quantity) FILTER (WHERE meter = 'egress_bytes'), 0) AS egress_bytes
FROM meter_days WHERE organization_id = $1 AND day >= $2 AND day < $3

-- name: insert
INSERT INTO invoices (id, organization_id, asset_id, mode, month) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (organization_id, mode, month) WHERE status <> 'void' DO NOTHING

-- name: lock
SELECT id, status FROM invoices
WHERE organization_id = $1 AND mode = $2 AND month = $3 AND status <> 'void'
FOR NO KEY UPDATE

-- name: clear
DELETE FROM invoice_lines WHERE invoice_id = $1

-- name: write
INSERT INTO invoice_lines (invoice_id, position, line_type, description, quantity, unit_price, amount_cents, asset_id,
    amount_atomic)
SELECT $1, * FROM unnest($2::integer[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::uuid[],
    $9::numeric[])

-- name: total
UPDATE invoices SET total_cents = $2 WHERE id = $1

-- name: begin_run
INSERT INTO invoice_runs (month) VALUES ($1) ON CONFLICT (month) DO NOTHING

-- name: lease_run
UPDATE invoice_runs SET leased_until = now() + $2::interval
WHERE month = $1 AND finished_at IS NULL AND leased_until <= now()
RETURNING done_up_to

-- name: advance_run
UPDATE invoice_runs SET done_up_to = $2, leased_until = now() WHERE month = $1 AND finished_at IS NULL

-- name: finish_run
UPDATE invoice_runs SET finished_at = now() WHERE month = $1 AND finished_at IS NULL
