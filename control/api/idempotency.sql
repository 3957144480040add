-- name: hurry
-- Whoever has the key is in a transaction of its own; this is how long to wait for it.
SELECT set_config('lock_timeout', '3s', true)

-- name: unhurry
SELECT set_config('lock_timeout', reset_val, true) FROM pg_settings WHERE name = 'lock_timeout'

-- name: claim
INSERT INTO idempotent_requests (id, organization_id, name, digest) VALUES ($1, $2, $3, $4)
ON CONFLICT (organization_id, name) DO NOTHING
RETURNING id

-- name: find
SELECT id, digest, status, answer, created_at < now() - interval '1 minute' AS is_over
FROM idempotent_requests WHERE organization_id = $1 AND name = $2

-- name: store
UPDATE idempotent_requests SET status = $2, answer = $3 WHERE id = $1

-- name: prune
DELETE FROM idempotent_requests WHERE id IN (
    SELECT id FROM idempotent_requests WHERE created_at < now() - $1::interval ORDER BY created_at LIMIT 1000
)
