-- name: every
SELECT members.user_id, coalesce(users.email, '') AS email, users.name, members.role, roles.name AS custom_name,
    roles.permissions AS custom, members.created_at
FROM members
JOIN users ON users.id = members.user_id
LEFT JOIN roles ON roles.id = members.role_id
WHERE members.organization_id = $1
ORDER BY members.created_at, members.user_id

-- name: of_project
SELECT project_members.user_id, coalesce(users.email, '') AS email, users.name, project_members.role,
    NULL::text[] AS custom, project_members.created_at
FROM project_members JOIN users ON users.id = project_members.user_id
WHERE project_id = $1 AND ($2::uuid IS NULL OR project_members.user_id = $2)
ORDER BY project_members.created_at, project_members.user_id
