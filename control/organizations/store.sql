-- name: get
SELECT id, name, slug, created_by, is_personal, created_at, updated_at, deleted_at
FROM organizations
WHERE id = $1 AND deleted_at IS NULL
