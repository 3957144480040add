-- What `farebox doctor` asks of the rows of projects' databases.

-- name: counts
SELECT (SELECT count(*) FROM timelines WHERE state IN ('ready', 'archived')) AS timelines,
    (SELECT count(*) FROM operations WHERE status IN ('scheduling', 'running')) AS open,
    (SELECT count(*) FROM operations WHERE status = 'failed' AND finished_at > now() - interval '1 day') AS failed

-- name: late
-- Not done long after they were asked for. $1 is how long that is.
SELECT id, project_id, action, failures_count, coalesce(error, 'nobody runs it') AS error FROM operations
WHERE status IN ('scheduling', 'running') AND created_at < now() - $1::interval ORDER BY number LIMIT 5

-- name: given_up
SELECT id, project_id, action, failures_count, coalesce(error, '') AS error FROM operations
WHERE status = 'failed' AND finished_at > now() - $1::interval ORDER BY finished_at DESC LIMIT 5

-- name: running
-- Of what was started just now the provider may not know yet.
SELECT id, label, status FROM endpoints
WHERE deleted_at IS NULL AND NOT is_disabled AND (
    status = 'failed' OR status = 'active' AND status_at < now() - interval '30 seconds')
ORDER BY status_at LIMIT 100
