-- Which branch's contents those are that we look at, or change.

-- name: has_branch
SELECT EXISTS (SELECT FROM branches WHERE id = $2 AND project_id = $1 AND deleted_at IS NULL)

-- name: waking
-- None is started for it while one runs, whoever started that.
SELECT projects.organization_id, EXISTS (
    SELECT FROM endpoints
    WHERE endpoints.branch_id = branches.id AND endpoints.deleted_at IS NULL AND endpoints.status = 'active'
) AS is_awake
FROM branches JOIN projects ON projects.id = branches.project_id
WHERE branches.id = $2 AND branches.project_id = $1 AND branches.deleted_at IS NULL

-- name: before
SELECT timeline_id FROM branches WHERE id = $1 AND deleted_at IS NULL

-- name: hold
-- One change at a time, so that a look does not take for gone what somebody is making; and it gets no other data
-- meanwhile.
SELECT timeline_id FROM branches WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE

-- name: awake
-- All of them, or those of one project.
SELECT branches.id FROM branches
WHERE deleted_at IS NULL AND ($1::uuid IS NULL OR project_id = $1) AND EXISTS (
    SELECT FROM endpoints
    WHERE endpoints.branch_id = branches.id AND endpoints.deleted_at IS NULL AND status = 'active'
)
ORDER BY id LIMIT 10000
