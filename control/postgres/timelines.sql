-- name: insert
INSERT INTO timelines (id, project_id, parent_timeline_id, parent_lsn, parent_at) VALUES ($1, $2, $3, $4::text::pg_lsn, $5)

-- name: source
-- What it is made of: asked for when it was inserted, and not looked at any more once it is ready.
SELECT timelines.id, timelines.project_id, timelines.state, timelines.parent_timeline_id,
    timelines.parent_lsn::text AS parent_lsn, timelines.parent_at, parents.state AS parent_state,
    projects.history_retention_seconds, projects.deleted_at AS project_deleted_at
FROM timelines JOIN projects ON projects.id = timelines.project_id
LEFT JOIN timelines AS parents ON parents.id = timelines.parent_timeline_id
WHERE timelines.id = $1

-- name: ready
UPDATE timelines SET state = CASE WHEN $3 THEN 'archived' ELSE 'ready' END,
    parent_lsn = coalesce($2::text::pg_lsn, parent_lsn), postgres_version = coalesce($4, postgres_version)
WHERE id = $1 AND state IN ('creating', 'ready', 'archived')

-- name: failed
UPDATE timelines SET state = 'failed' WHERE id = $1 AND state = 'creating'

-- name: measured
WITH before AS (
    SELECT id, head_lsn FROM timelines WHERE id = $1
)
UPDATE timelines SET head_lsn = $2::text::pg_lsn, logical_bytes = $3, history_bytes = $4, horizon_lsn = $5::text::pg_lsn,
    horizon_at = $6, measured_at = now()
FROM before WHERE timelines.id = before.id
RETURNING greatest(0, timelines.head_lsn - before.head_lsn)::bigint

-- name: orphans
-- Data that no branch points to, and nothing that is to be done needs. $1 is a project, or all of them; what a
-- deleted project had is kept for $2, unless somebody had it thrown away.
SELECT id FROM timelines
WHERE state <> 'deleted' AND ($1::uuid IS NULL OR project_id = $1)
    AND NOT EXISTS (
        SELECT FROM projects
        WHERE projects.id = timelines.project_id AND projects.deleted_at > now() - $2::interval AND purged_at IS NULL)
    AND NOT EXISTS (SELECT FROM branches WHERE timeline_id = timelines.id AND branches.deleted_at IS NULL)
    AND NOT EXISTS (
        SELECT FROM timelines AS children WHERE children.parent_timeline_id = timelines.id AND children.state = 'creating')
    AND NOT EXISTS (
        SELECT FROM operations
        WHERE operations.project_id = timelines.project_id AND operations.status IN ('scheduling', 'running')
            AND arguments ->> 'timeline_id' = timelines.id::text)
ORDER BY id LIMIT 100

-- name: deleted
UPDATE timelines SET state = 'deleted', deleted_at = now(), logical_bytes = 0, history_bytes = 0 WHERE id = $1

-- name: deleted_branch
SELECT branches.name, organization_id FROM branches JOIN projects ON projects.id = project_id WHERE branches.id = $1

-- name: branches_ever
SELECT id FROM branches WHERE project_id = $1 ORDER BY id

-- name: due
-- What may have grown since it was measured, and all of it once an hour: history is trimmed, too.
SELECT timelines.id FROM timelines
WHERE state IN ('ready', 'archived') AND (
    measured_at IS NULL OR measured_at < now() - interval '1 hour'
    OR EXISTS (
        SELECT FROM branches JOIN endpoints ON endpoints.branch_id = branches.id
        WHERE branches.timeline_id = timelines.id AND (endpoints.status = 'active' OR endpoints.status_at > measured_at)))
ORDER BY measured_at NULLS FIRST LIMIT $1

-- name: stored
-- How much each project keeps, for as long as it has kept it.
SELECT project_id, organization_id, sum(logical_bytes + history_bytes)::bigint AS bytes FROM timelines
JOIN projects ON projects.id = project_id
WHERE state IN ('ready', 'archived') GROUP BY project_id, organization_id HAVING sum(logical_bytes + history_bytes) > 0

-- name: retention
SELECT timelines.id, history_retention_seconds FROM timelines JOIN projects ON projects.id = project_id
WHERE project_id = $1 AND state IN ('ready', 'archived')
