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
UPDATE timelines SET state = CASE WHEN $3 THEN 'archived' ELSE 'ready' END, parent_lsn = coalesce($2::text::pg_lsn, parent_lsn)
WHERE id = $1 AND state IN ('creating', 'ready', 'archived')

-- name: failed
UPDATE timelines SET state = 'failed' WHERE id = $1 AND state = 'creating'

-- name: measured
UPDATE timelines SET head_lsn = $2::text::pg_lsn, logical_bytes = $3, history_bytes = $4, horizon_lsn = $5::text::pg_lsn,
    horizon_at = $6, measured_at = now()
WHERE id = $1
