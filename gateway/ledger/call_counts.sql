-- name: count
INSERT INTO call_counts (publisher_id, organization_id, month, calls)
VALUES ($1, $2, date_trunc('month', now() AT TIME ZONE 'UTC')::date, 1)
ON CONFLICT (publisher_id, organization_id, month) DO UPDATE SET calls = call_counts.calls + 1
RETURNING calls
