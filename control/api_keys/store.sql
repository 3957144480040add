-- name: count
SELECT count(*) FROM api_keys WHERE organization_id = $1 AND project_id IS NULL

-- name: page
SELECT id, organization_id, name, kind, prefix, mode, scopes, created_at, expires_at, revoked_at,
    used_at AS last_used_at
FROM api_keys LEFT JOIN key_uses ON key_id = id
WHERE organization_id = $1 AND project_id IS NULL
ORDER BY id
LIMIT $2 OFFSET $3

-- name: get
SELECT id, organization_id, name, kind, prefix, mode, scopes, created_at, expires_at, revoked_at,
    used_at AS last_used_at
FROM api_keys LEFT JOIN key_uses ON key_id = id
WHERE organization_id = $1 AND id = $2

-- name: of_project
SELECT id, name, suffix, project_role, created_at, expires_at, revoked_at, used_at AS last_used_at
FROM api_keys LEFT JOIN key_uses ON key_id = id
WHERE project_id = $1 AND ($2::uuid IS NULL OR id = $2)
ORDER BY id DESC
LIMIT 500

-- name: find_member
SELECT members.role, roles.permissions AS custom, users.kind
FROM members JOIN users ON users.id = members.user_id LEFT JOIN roles ON roles.id = members.role_id
WHERE members.organization_id = $1 AND members.user_id = $2

-- name: mode_of
SELECT mode FROM api_keys WHERE organization_id = $1 AND id = $2 AND revoked_at IS NULL
