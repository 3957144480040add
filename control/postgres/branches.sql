-- name: insert
INSERT INTO branches (id, project_id, name, timeline_id, parent_branch_id, parent_lsn, parent_timestamp, init_source,
    is_default, is_protected, expires_at, created_by, state)
VALUES ($1, $2, $3, $4, $5, $6::text::pg_lsn, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (project_id, name) WHERE deleted_at IS NULL DO NOTHING
RETURNING id

-- name: standing
SELECT branches.id, branches.project_id, branches.timeline_id, branches.state, branches.parent_branch_id,
    branches.init_source, parents.timeline_id AS parent_timeline_id, coalesce(parents.is_protected, false) AS is_parent_protected
FROM branches LEFT JOIN branches AS parents ON parents.id = branches.parent_branch_id AND parents.deleted_at IS NULL
WHERE branches.id = $1 AND branches.deleted_at IS NULL

-- name: become
UPDATE branches SET state = $2 WHERE id = $1
