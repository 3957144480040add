-- name: running
-- Of what was started just now the provider may not know yet.
SELECT id, status_at < now() - interval '30 seconds' AS is_settled, NOT EXISTS (
        SELECT FROM egress_runs WHERE endpoint_id = endpoints.id AND updated_at > now() - interval '5 minutes'
    ) AS is_sent_due
FROM endpoints
WHERE status IN ('active', 'starting', 'stopping')
ORDER BY id

-- name: begin_run
INSERT INTO egress_runs (endpoint_id, started_at, counted) SELECT id, $2, 0 FROM endpoints WHERE id = $1
ON CONFLICT DO NOTHING

-- name: lock_run
-- Two that count the same wait for one another.
SELECT counted, project_id FROM egress_runs JOIN endpoints ON endpoints.id = endpoint_id
WHERE endpoint_id = $1 AND egress_runs.started_at = $2
FOR UPDATE OF egress_runs

-- name: count_run
UPDATE egress_runs SET counted = $3, updated_at = now() WHERE endpoint_id = $1 AND started_at = $2

-- name: prune_runs
-- Not the last one of an endpoint: it may go on.
DELETE FROM egress_runs WHERE (endpoint_id, started_at) IN (
    SELECT endpoint_id, started_at FROM egress_runs AS old
    WHERE updated_at < now() - interval '30 days' AND EXISTS (
        SELECT FROM egress_runs AS later WHERE later.endpoint_id = old.endpoint_id AND later.started_at > old.started_at)
    LIMIT 1000)

-- name: asleep_since
-- The branch with this data, if it fell asleep at this moment and has not been awake since.
SELECT branches.id FROM branches JOIN endpoints ON endpoints.branch_id = branches.id
WHERE timeline_id = $1 AND branches.deleted_at IS NULL AND endpoints.deleted_at IS NULL
    AND endpoints.status = 'idle' AND endpoints.status_at = $2
LIMIT 1 FOR NO KEY UPDATE OF branches
