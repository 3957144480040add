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

-- name: due
-- Whose invoice of the month is still to be made or issued, in which money. One that was voided stays so, until somebody
-- makes it again; a draft is there for whoever asks so.
WITH needs AS (
    SELECT organization_id AS id, assets.mode FROM usage_days JOIN assets ON assets.id = asset_id
    WHERE day >= $1 AND day < $2 AND cost > 0 AND organization_id IS NOT NULL
    UNION
    SELECT organization_id, $5::text FROM meter_days WHERE day >= $1 AND day < $2
    UNION
    SELECT organization_id, $5::text FROM organization_plans
    WHERE price_cents > 0 AND subscription_id IS NULL AND started_at < $2::date::timestamp AT TIME ZONE 'UTC'
        AND (ends_at IS NULL OR ends_at > $1::date::timestamp AT TIME ZONE 'UTC')
)
SELECT id, array_agg(mode ORDER BY mode) AS modes FROM needs
WHERE id > $3 AND id <> '00000000-0000-7000-8000-000000000000' AND mode = ANY ($6::text[])
    AND NOT EXISTS (
        SELECT FROM invoices WHERE organization_id = needs.id AND invoices.mode = needs.mode AND month = $1
            AND ($7 OR status <> 'draft')
    )
GROUP BY id ORDER BY id LIMIT $4

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
SELECT coalesce(sum(coalesce(milli_unit_seconds, quantity * compute_units * 1000)) FILTER (WHERE meter = 'active_seconds'), 0)
        AS compute_milliseconds,
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

-- name: now
SELECT now()

-- name: begin_runs
INSERT INTO invoice_runs (month) SELECT unnest($1::date[]) ON CONFLICT (month) DO NOTHING

-- name: lease_run
-- The newest month that is not done comes first. Each is looked at again after a day, or an hour where something failed.
UPDATE invoice_runs SET leased_until = now() + $2::interval, finished_at = NULL,
    begun_at = CASE WHEN finished_at IS NULL THEN begun_at ELSE now() END,
    done_up_to = CASE WHEN finished_at IS NULL THEN done_up_to ELSE '00000000-0000-0000-0000-000000000000' END
WHERE month = (
    SELECT month FROM invoice_runs
    WHERE month = ANY ($1::date[]) AND leased_until <= now() AND (
        finished_at IS NULL OR finished_at < now() - CASE
            WHEN EXISTS (SELECT FROM invoice_failures WHERE invoice_failures.month = invoice_runs.month)
            THEN interval '1 hour' ELSE interval '1 day' END
    )
    ORDER BY month DESC LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
)
RETURNING month, done_up_to

-- name: advance_run
UPDATE invoice_runs SET done_up_to = $2, leased_until = now() WHERE month = $1 AND finished_at IS NULL

-- name: finish_run
WITH finished AS (
    UPDATE invoice_runs SET finished_at = now(), leased_until = now() WHERE month = $1 AND finished_at IS NULL
    RETURNING begun_at
)
DELETE FROM invoice_failures USING finished WHERE month = $1 AND failed_at < begun_at

-- name: fail
INSERT INTO invoice_failures (organization_id, month, error) VALUES ($1, $2, $3)
ON CONFLICT (organization_id, month) DO UPDATE SET error = EXCLUDED.error, failed_at = now()

-- name: count_failures
SELECT count(*) FROM invoice_failures
