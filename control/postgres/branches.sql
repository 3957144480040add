-- name: insert
INSERT INTO branches (id, project_id, name, timeline_id, parent_branch_id, parent_lsn, parent_timestamp, init_source,
    is_default, is_protected, expires_at, created_by, state, preserves_branch_id)
VALUES ($1, $2, $3, $4, $5, $6::text::pg_lsn, $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT (project_id, name) WHERE deleted_at IS NULL DO NOTHING
RETURNING id

-- name: standing
SELECT branches.id, branches.project_id, branches.timeline_id, branches.state, branches.parent_branch_id, branches.name,
    branches.init_source, branches.is_archived, branches.is_protected, parents.timeline_id AS parent_timeline_id,
    coalesce(parents.is_protected, false) AS is_parent_protected, projects.organization_id
FROM branches JOIN projects ON projects.id = branches.project_id
LEFT JOIN branches AS parents ON parents.id = branches.parent_branch_id AND parents.deleted_at IS NULL
WHERE branches.id = $1 AND branches.deleted_at IS NULL

-- name: lock_project
-- Changes of a project's branches come one after the other.
SELECT id, created_at FROM projects WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE

-- name: shown
SELECT branches.id, branches.project_id, branches.name, branches.timeline_id, parent_branch_id,
    branches.parent_lsn::text AS parent_lsn, parent_timestamp, init_source, is_default, is_archived AS archived,
    is_protected AS protected, expires_at, last_reset_at, branches.created_by, branches.created_at,
    branches.updated_at, branches.deleted_at, branches.deleted_by, branches.state, logical_bytes AS logical_size_bytes,
    logical_bytes + history_bytes AS physical_size_bytes, timelines.state AS timeline_state,
    preserves_branch_id, projects.created_at AS project_created_at
FROM branches JOIN timelines ON timelines.id = timeline_id JOIN projects ON projects.id = branches.project_id
WHERE branches.project_id = $1 AND ($2::uuid IS NULL OR branches.id = $2) AND branches.deleted_at IS NULL
    AND ($3 OR NOT is_archived)
ORDER BY branches.created_at, branches.id

-- name: default_of
SELECT id FROM branches WHERE project_id = $1 AND is_default AND deleted_at IS NULL

-- name: count
SELECT count(*) FROM branches WHERE project_id = $1 AND deleted_at IS NULL

-- name: has_children
SELECT EXISTS (
    SELECT FROM branches AS children JOIN branches AS parents ON parents.id = children.parent_branch_id
    WHERE parents.id = $1 AND children.deleted_at IS NULL AND children.id IS DISTINCT FROM parents.preserves_branch_id)

-- name: become
UPDATE branches SET state = $2 WHERE id = $1

-- name: rename
-- By whoever holds the project's lock.
UPDATE branches SET name = $2, updated_at = now()
WHERE id = $1 AND NOT EXISTS (
    SELECT FROM branches AS others
    WHERE others.project_id = branches.project_id AND others.name = $2 AND others.id <> $1 AND others.deleted_at IS NULL)
RETURNING id

-- name: expire
UPDATE branches SET expires_at = $2, updated_at = now() WHERE id = $1

-- name: archive
UPDATE branches SET is_archived = $2, updated_at = now() WHERE id = $1

-- name: unpacked
WITH back AS (
    UPDATE branches SET is_archived = false, updated_at = now() WHERE id = $1 RETURNING timeline_id
)
UPDATE timelines SET state = 'ready' FROM back WHERE timelines.id = back.timeline_id AND state = 'archived'

-- name: undefault
UPDATE branches SET is_default = false, updated_at = now() WHERE project_id = $1 AND is_default AND deleted_at IS NULL

-- name: default
UPDATE branches SET is_default = true, updated_at = now() WHERE id = $1

-- name: point
-- At other data than before.
UPDATE branches SET timeline_id = $2, parent_branch_id = $3, parent_lsn = $4::text::pg_lsn, parent_timestamp = NULL,
    state = 'ready', is_archived = false, last_reset_at = CASE WHEN $5 THEN now() ELSE last_reset_at END, updated_at = now()
WHERE id = $1

-- name: hand_over
-- Children of $1 are $2's from now on.
UPDATE branches SET parent_branch_id = $2, updated_at = now()
WHERE parent_branch_id = $1 AND id <> $2 AND deleted_at IS NULL

-- name: delete
WITH gone AS (
    UPDATE branches SET deleted_at = now(), deleted_by = $2, updated_at = now() WHERE id = $1
    RETURNING id, parent_branch_id
)
UPDATE branches SET parent_branch_id = gone.parent_branch_id FROM gone
WHERE branches.parent_branch_id = gone.id AND branches.deleted_at IS NULL

-- name: delete_of_project
UPDATE branches SET deleted_at = now(), deleted_by = $2, updated_at = now() WHERE project_id = $1 AND deleted_at IS NULL

-- name: undelete
-- What was deleted with its project. An exchange of its data that was under way has not happened.
UPDATE branches SET deleted_at = NULL, deleted_by = NULL, updated_at = now(),
    state = CASE WHEN state = 'swapping' THEN 'ready' ELSE state END
WHERE project_id = $1 AND deleted_at = $2

-- name: detail
SELECT branches.id AS branch_id, branches.timeline_id, parent_timeline_id AS ancestor_timeline_id,
    timelines.parent_lsn::text AS ancestor_lsn, coalesce(head_lsn, '0/0')::text AS last_record_lsn,
    logical_bytes AS current_logical_size, branches.state
FROM branches JOIN timelines ON timelines.id = timeline_id
WHERE branches.id = $1
