-- name: count
SELECT count(*) FROM api_keys WHERE organization_id = $1

-- name: page
SELECT id, organization_id, name, kind, prefix, mode, scopes, created_at, expires_at, revoked_at
FROM api_keys
WHERE organization_id = $1
ORDER BY id
LIMIT $2 OFFSET $3

-- name: find_member
SELECT members.role, roles.permissions AS custom, users.kind
FROM members JOIN users ON users.id = members.user_id LEFT JOIN roles ON roles.id = members.role_id
WHERE members.organization_id = $1 AND members.user_id = $2

-- name: is_key
SELECT EXISTS (SELECT FROM api_keys WHERE organization_id = $1 AND id = $2 AND revoked_at IS NULL)
