-- name: find_key
SELECT id, organization_id, user_id, mode, scopes, project_id, project_role
FROM api_keys
WHERE hash = $1
  AND revoked_at IS NULL
  AND (expires_at IS NULL OR expires_at > now())
