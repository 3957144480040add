-- name: insert
INSERT INTO endpoints (id, project_id, branch_id, label, name, endpoint_type, primary_endpoint_id, compute_unit,
    autoscaling_min, autoscaling_max, suspend_timeout_seconds, pooler_enabled, pooler_mode, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::numeric, $9, $10, $11, $12, $13, $14)

-- name: states
SELECT status, count(*) FROM endpoints WHERE deleted_at IS NULL GROUP BY status

-- name: serving
-- Where an endpoint leads now, and whether it may. With a logical slot left, as one may be that was made by SQL
-- while logical replication was being turned off, a server does not start without it.
SELECT endpoints.id, endpoints.project_id, endpoints.branch_id, endpoints.endpoint_type, endpoints.status,
    endpoints.compute_unit::text AS compute_unit, suspend_timeout_seconds, is_disabled, branches.timeline_id,
    branches.state AS branch_state, timelines.state AS timeline_state, projects.enable_logical_replication OR EXISTS (
        SELECT FROM replication_slots
        WHERE replication_slots.branch_id = branches.id AND slot_type = 'logical'
    ) AS enable_logical_replication
FROM endpoints
JOIN branches ON branches.id = endpoints.branch_id AND branches.deleted_at IS NULL
JOIN timelines ON timelines.id = branches.timeline_id
JOIN projects ON projects.id = endpoints.project_id AND projects.deleted_at IS NULL
WHERE endpoints.id = $1 AND endpoints.deleted_at IS NULL

-- name: of_branch
SELECT id FROM endpoints WHERE branch_id = $1 AND deleted_at IS NULL ORDER BY endpoint_type DESC, id

-- name: ever_of_branch
SELECT id, status FROM endpoints WHERE branch_id = $1

-- name: primary_of
SELECT id FROM endpoints
WHERE branch_id = $1 AND deleted_at IS NULL AND endpoint_type = 'read_write' AND NOT is_disabled

-- name: become
-- News of an earlier moment that comes late changes nothing.
UPDATE endpoints SET status = $2, status_at = $3,
    last_active_at = CASE WHEN $2 = 'active' OR active_since IS NOT NULL THEN $3 ELSE last_active_at END,
    active_since = CASE WHEN $2 = 'active' THEN coalesce(active_since, $3) WHEN $2 IN ('idle', 'failed') THEN NULL
        ELSE active_since END,
    active_milliseconds = active_milliseconds + CASE WHEN $2 IN ('idle', 'failed') AND active_since IS NOT NULL
        THEN (extract(epoch FROM $3 - active_since) * 1000)::bigint ELSE 0 END,
    connection_count = CASE WHEN $2 = 'active' THEN connection_count ELSE 0 END
WHERE id = $1 AND status_at <= $3 AND status <> $2
RETURNING project_id, compute_unit::text AS compute_unit

-- name: broken
UPDATE endpoints SET status = 'failed', status_at = now() WHERE id = $1 AND status IN ('starting', 'stopping')

-- name: project_of
SELECT project_id FROM endpoints WHERE id = $1

-- name: connected
UPDATE endpoints SET connection_count = $2, last_active_at = CASE WHEN $2 > 0 THEN now() ELSE last_active_at END
WHERE id = $1 AND (connection_count <> $2 OR $2 > 0)

-- name: asked
-- Somebody wants it started (`starting`) or stopped; the operation that does it follows.
UPDATE endpoints SET status = CASE WHEN $2 = 'starting' AND status IN ('idle', 'failed') THEN 'starting'
        WHEN $2 = 'stopping' AND status IN ('active', 'starting') THEN 'stopping' ELSE status END,
    status_at = now(), is_disabled = coalesce($3, is_disabled), updated_at = now()
WHERE id = $1

-- name: shown
SELECT endpoints.id, endpoints.project_id, endpoints.branch_id, label, endpoints.name, endpoint_type, primary_endpoint_id,
    compute_unit::text AS compute_unit, autoscaling_min, autoscaling_max, suspend_timeout_seconds, pooler_enabled,
    pooler_mode, status, is_disabled, last_active_at, endpoints.created_by, endpoints.created_at, endpoints.updated_at,
    connection_count, branches.timeline_id, branches.is_protected,
    (active_milliseconds + coalesce(extract(epoch FROM now() - active_since) * 1000, 0))::float8 / 1000
        AS active_time_seconds
FROM endpoints JOIN branches ON branches.id = branch_id
WHERE endpoints.project_id = $1 AND ($2::uuid IS NULL OR branch_id = $2) AND ($3::uuid IS NULL OR endpoints.id = $3)
    AND endpoints.deleted_at IS NULL AND branches.deleted_at IS NULL
ORDER BY endpoints.created_at, endpoints.id

-- name: change
UPDATE endpoints SET compute_unit = $2::text::numeric, autoscaling_min = $3, autoscaling_max = $4,
    suspend_timeout_seconds = $5, pooler_enabled = $6, pooler_mode = $7, updated_at = now()
WHERE id = $1

-- name: delete
UPDATE endpoints SET deleted_at = now(), updated_at = now() WHERE id = $1 AND deleted_at IS NULL

-- name: delete_of_branch
UPDATE endpoints SET deleted_at = now(), updated_at = now() WHERE branch_id = $1 AND deleted_at IS NULL

-- name: undelete
UPDATE endpoints SET deleted_at = NULL, updated_at = now() WHERE project_id = $1 AND deleted_at = $2

-- name: delete_of_project
UPDATE endpoints SET deleted_at = now(), updated_at = now() WHERE project_id = $1 AND deleted_at IS NULL
