-- name: exists
SELECT EXISTS (SELECT FROM organizations WHERE id = $1 AND deleted_at IS NULL)

-- name: of_organization
SELECT id, organization_id, asset_id, reason, description, amount, held, spent, expired, expires_at, created_at
FROM grants WHERE organization_id = $1
ORDER BY created_at DESC, id DESC
LIMIT $2 OFFSET $3

-- name: count
SELECT count(*) FROM grants WHERE organization_id = $1
