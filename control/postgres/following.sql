-- name: running
-- Not what was started just now, of which the provider may not know yet.
SELECT id FROM endpoints WHERE status IN ('active', 'starting', 'stopping') AND status_at < now() - interval '30 seconds'
ORDER BY id
