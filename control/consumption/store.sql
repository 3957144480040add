-- name: by_month
SELECT date_trunc('month', day::timestamp)::date AS month,
    coalesce(sum(quantity) FILTER (WHERE meter = 'active_seconds'), 0) AS active,
    coalesce(floor(sum(coalesce(milli_unit_seconds, quantity * compute_units * 1000))
        FILTER (WHERE meter = 'active_seconds') / 1000), 0) AS compute,
    coalesce(sum(quantity) FILTER (WHERE meter = 'storage_byte_hours'), 0) AS byte_hours,
    coalesce(sum(quantity) FILTER (WHERE meter = 'written_bytes'), 0) AS written,
    coalesce(sum(quantity) FILTER (WHERE meter = 'egress_bytes'), 0) AS sent
FROM meter_days
WHERE organization_id = $1 AND ($2::uuid IS NULL OR project_id = $2) AND day >= $3 AND day <= $4
GROUP BY 1 ORDER BY 1
