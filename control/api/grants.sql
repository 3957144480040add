-- name: find_role
SELECT id, name, permissions FROM roles
WHERE organization_id = $1 AND ($2::uuid IS NULL OR id = $2) AND ($3::text IS NULL OR lower(name) = lower($3))

-- name: find_member
SELECT members.role, roles.permissions AS custom
FROM members LEFT JOIN roles ON roles.id = members.role_id
WHERE members.organization_id = $1 AND members.user_id = $2
