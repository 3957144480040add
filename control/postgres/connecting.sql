-- name: timeline_of
SELECT timeline_id, state FROM branches WHERE id = $1 AND deleted_at IS NULL

-- name: project_of
SELECT project_id FROM branches WHERE id = $1
