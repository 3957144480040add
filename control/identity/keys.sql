-- name: issue
INSERT INTO api_keys (id, organization_id, user_id, name, kind, prefix, hash, mode, scopes, expires_at,
    project_id, project_role, suffix)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
RETURNING id, organization_id, user_id, name, kind, prefix, mode, scopes, created_at, expires_at, revoked_at

-- name: revoke
UPDATE api_keys SET revoked_at = now()
WHERE organization_id = $1 AND id = $2 AND revoked_at IS NULL
RETURNING id

-- name: lock
SELECT FROM organizations WHERE id = $1 FOR UPDATE

-- name: was_issued
SELECT EXISTS (SELECT FROM api_keys WHERE organization_id = $1)

-- name: rename_of_project
UPDATE api_keys SET name = $3 WHERE project_id = $1 AND id = $2 RETURNING id

-- name: revoke_in_project
UPDATE api_keys SET revoked_at = coalesce(api_keys.revoked_at, now())
FROM api_keys AS before
WHERE api_keys.project_id = $1 AND api_keys.id = $2 AND before.id = api_keys.id
RETURNING before.revoked_at IS NULL

-- name: rescope
UPDATE api_keys SET scopes = $4
WHERE organization_id = $1 AND user_id = $2 AND id = $3 AND project_id IS NULL
    AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
RETURNING id

-- name: revoke_of_project
UPDATE api_keys SET revoked_at = now() WHERE project_id = $1 AND revoked_at IS NULL RETURNING id

-- name: revoke_of_member
UPDATE api_keys SET revoked_at = now() WHERE organization_id = $1 AND user_id = $2 AND revoked_at IS NULL
RETURNING id, project_id

-- name: revoke_of_project_member
UPDATE api_keys SET revoked_at = now()
WHERE project_id = $1 AND user_id = $2 AND revoked_at IS NULL AND NOT EXISTS (
    SELECT FROM members WHERE members.organization_id = api_keys.organization_id AND members.user_id = $2
)
RETURNING id, organization_id

-- name: revoke_of_account
UPDATE api_keys SET revoked_at = now()
WHERE (user_id = $1 OR organization_id = $2) AND revoked_at IS NULL
RETURNING id, organization_id, project_id
