-- name: holds
SELECT count(*) AS open, count(*) FILTER (WHERE expires_at < now()) AS expired
FROM holds
WHERE state = 'open'

-- name: ahead
SELECT (SELECT count(*) FROM purses) AS purses, count(*) AS slips,
    coalesce(extract(epoch FROM now() - min(written_at)), 0)::float8 AS slips_oldest_seconds
FROM (SELECT written_at FROM slips UNION ALL SELECT written_at FROM payment_slips) AS waiting

-- name: settlements
SELECT assets.network, count(*) AS pending,
    coalesce(extract(epoch FROM now() - min(payments.created_at)), 0)::float8 AS oldest_seconds
FROM payments
JOIN assets ON assets.id = payments.asset_id
WHERE payments.state = 'submitted'
GROUP BY assets.network

-- name: payouts
-- By whom or what they wait for.
SELECT CASE WHEN doubt IS NOT NULL THEN 'doubtful' WHEN state = 'submitted' THEN state
        WHEN publishers.suspended_at IS NOT NULL OR organizations.suspended_at IS NOT NULL THEN 'suspended'
        WHEN is_manual THEN 'manual' ELSE state END AS waiting,
    count(*) AS payouts, coalesce(extract(epoch FROM now() - min(payouts.created_at)), 0)::float8 AS oldest_seconds
FROM payouts JOIN publishers ON publishers.id = publisher_id
    JOIN organizations ON organizations.id = payouts.organization_id
WHERE state IN ('requested', 'submitted')
GROUP BY 1
