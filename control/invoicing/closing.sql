-- name: unbilled
SELECT first::date AS month FROM generate_series(
    date_trunc('month', now() AT TIME ZONE 'UTC') - interval '12 months', date_trunc('month', now() AT TIME ZONE 'UTC'),
    interval '1 month'
) AS first
WHERE NOT EXISTS (
        SELECT FROM invoices
        WHERE organization_id = $1 AND mode = $2 AND month = first::date AND status <> 'draft'
    ) AND (EXISTS (
        SELECT FROM organization_plans
        WHERE organization_id = $1 AND price_cents > 0 AND subscription_id IS NULL
            AND started_at < (first + interval '1 month') AT TIME ZONE 'UTC'
            AND (ends_at IS NULL OR ends_at > first AT TIME ZONE 'UTC')
    ) OR EXISTS (
        SELECT FROM meter_days
        WHERE organization_id = $1 AND day >= first::date AND day < (first + interval '1 month')::date
    ))
ORDER BY first
