-- name: every
-- A key acts in one organization; $2 is null for whoever acts in all of theirs.
SELECT organizations.id, name, slug, created_by, is_personal, organizations.created_at, updated_at, deleted_at
FROM members JOIN organizations ON organizations.id = members.organization_id
WHERE members.user_id = $1 AND ($2::uuid IS NULL OR organizations.id = $2) AND deleted_at IS NULL
ORDER BY is_personal DESC, name, organizations.id

-- name: get
SELECT id, name, slug, created_by, is_personal, created_at, updated_at, deleted_at
FROM organizations
WHERE id = $1 AND deleted_at IS NULL

