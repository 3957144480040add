-- name: lock
-- Whoever founds it at the same time waits, and finds it done.
SELECT id FROM projects WHERE id = $1 AND deleted_at IS NULL FOR NO KEY UPDATE

-- name: is_founded
SELECT EXISTS (SELECT FROM branches WHERE project_id = $1 AND deleted_at IS NULL)

-- name: unfounded
SELECT id, created_by FROM projects
WHERE deleted_at IS NULL AND NOT EXISTS (SELECT FROM branches WHERE project_id = projects.id AND deleted_at IS NULL)
ORDER BY id LIMIT $1
