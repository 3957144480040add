-- name: insert
INSERT INTO endpoints (id, project_id, branch_id, label, name, endpoint_type, primary_endpoint_id, compute_unit,
    autoscaling_min, autoscaling_max, suspend_timeout_seconds, pooler_enabled, pooler_mode, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::numeric, $9, $10, $11, $12, $13, $14)

-- name: serving
-- Where an endpoint leads now, and whether it may.
SELECT endpoints.id, endpoints.project_id, endpoints.branch_id, endpoints.endpoint_type, endpoints.status,
    endpoints.compute_unit::text AS compute_unit, suspend_timeout_seconds, is_disabled, branches.timeline_id,
    branches.state AS branch_state, timelines.state AS timeline_state, projects.enable_logical_replication
FROM endpoints
JOIN branches ON branches.id = endpoints.branch_id AND branches.deleted_at IS NULL
JOIN timelines ON timelines.id = branches.timeline_id
JOIN projects ON projects.id = endpoints.project_id AND projects.deleted_at IS NULL
WHERE endpoints.id = $1 AND endpoints.deleted_at IS NULL

-- name: of_branch
SELECT id FROM endpoints WHERE branch_id = $1 AND deleted_at IS NULL ORDER BY endpoint_type DESC, id

-- name: primary_of
SELECT id FROM endpoints
WHERE branch_id = $1 AND deleted_at IS NULL AND endpoint_type = 'read_write' AND NOT is_disabled

-- name: become
-- News of an earlier moment that comes late changes nothing.
UPDATE endpoints SET status = $2, status_at = $3,
    last_active_at = CASE WHEN $2 = 'active' OR status = 'active' THEN $3 ELSE last_active_at END
WHERE id = $1 AND status_at <= $3 AND status <> $2
RETURNING project_id, compute_unit::text AS compute_unit

-- name: broken
UPDATE endpoints SET status = 'failed', status_at = now() WHERE id = $1 AND status IN ('starting', 'stopping')
