-- name: running
-- Of what was started just now the provider may not know yet.
SELECT id, status_at < now() - interval '30 seconds' AS is_settled FROM endpoints
WHERE status IN ('active', 'starting', 'stopping')
ORDER BY id
