-- name: create
INSERT INTO organizations (id, name, slug, created_by, is_personal) VALUES ($1, $2, $3, $4, false)
ON CONFLICT (slug) DO NOTHING
RETURNING id

-- name: lock_maker
-- Whoever makes two at once makes the second when the first is counted.
SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE

-- name: count_made
SELECT count(*) FROM organizations WHERE created_by = $1 AND NOT is_personal AND deleted_at IS NULL

-- name: rename
UPDATE organizations SET name = $2, updated_at = now()
WHERE id = $1 AND NOT is_personal AND deleted_at IS NULL
RETURNING id

-- name: lock
SELECT FROM organizations WHERE id = $1 FOR UPDATE

-- name: share
SELECT id FROM organizations WHERE id = $1 AND deleted_at IS NULL FOR KEY SHARE

-- name: delete
UPDATE organizations SET deleted_at = now(), updated_at = now()
WHERE id = $1 AND NOT is_personal AND deleted_at IS NULL AND id <> '00000000-0000-7000-8000-000000000000'
    AND NOT EXISTS (SELECT FROM projects WHERE organization_id = $1 AND deleted_at IS NULL)
    AND NOT EXISTS (SELECT FROM publishers WHERE organization_id = $1 AND deleted_at IS NULL)
    AND NOT EXISTS (SELECT FROM invoices WHERE organization_id = $1 AND status = 'issued')
    AND NOT EXISTS (
        SELECT FROM accounts WHERE owner_id = $1 AND kind IN ('funded', 'earnings') AND (posted <> 0 OR held <> 0)
    )
RETURNING id

-- name: suspend
UPDATE organizations
SET suspended_at = CASE WHEN $2 THEN coalesce(suspended_at, now()) END, updated_at = now()
WHERE id = $1 AND deleted_at IS NULL AND id <> '00000000-0000-7000-8000-000000000000'
RETURNING id, name, slug, created_by, is_personal, created_at, updated_at, deleted_at, suspended_at
