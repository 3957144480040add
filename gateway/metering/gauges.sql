-- name: holds
SELECT count(*) AS open, count(*) FILTER (WHERE expires_at < now()) AS expired
FROM holds
WHERE state = 'open'

-- name: settlements
SELECT assets.network, count(*) AS pending,
    coalesce(extract(epoch FROM now() - min(payments.created_at)), 0)::float8 AS oldest_seconds
FROM payments
JOIN assets ON assets.id = payments.asset_id
WHERE payments.state = 'submitted'
GROUP BY assets.network
