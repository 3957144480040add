-- name: issue
INSERT INTO api_keys (id, organization_id, user_id, name, kind, prefix, hash, mode, scopes, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
RETURNING id, organization_id, user_id, name, kind, prefix, mode, scopes, created_at, expires_at, revoked_at

-- name: revoke
UPDATE api_keys SET revoked_at = now()
WHERE organization_id = $1 AND id = $2 AND revoked_at IS NULL
RETURNING id

-- name: lock
SELECT FROM organizations WHERE id = $1 FOR UPDATE

-- name: was_issued
SELECT EXISTS (SELECT FROM api_keys WHERE organization_id = $1)

-- name: revoke_of_project
UPDATE api_keys SET revoked_at = now() WHERE project_id = $1 AND revoked_at IS NULL

-- name: revoke_of_member
UPDATE api_keys SET revoked_at = now() WHERE organization_id = $1 AND user_id = $2 AND revoked_at IS NULL
