-- name: installed_at
SELECT created_at FROM organizations WHERE id = $1

-- name: every
SELECT id, name, description, permissions, created_at FROM roles WHERE organization_id = $1 ORDER BY lower(name)

-- name: get
SELECT id, name, description, permissions, created_at FROM roles WHERE organization_id = $1 AND id = $2

-- name: insert
INSERT INTO roles (id, organization_id, name, description, permissions) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (organization_id, lower(name)) DO NOTHING
RETURNING id, name, description, permissions, created_at

-- name: update
UPDATE roles SET name = $3, description = $4, permissions = $5, updated_at = now()
WHERE organization_id = $1 AND id = $2
RETURNING id, name, description, permissions, created_at

-- name: delete
DELETE FROM roles
WHERE organization_id = $1 AND id = $2
    AND NOT EXISTS (SELECT FROM members WHERE members.role_id = roles.id)
    AND NOT EXISTS (
        SELECT FROM invites
        WHERE invites.role_id = roles.id AND accepted_at IS NULL AND revoked_at IS NULL AND expires_at > now()
    )
RETURNING id
