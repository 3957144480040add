-- name: projects_seen
-- As `GET /v1/projects` shows them: those of every organization where a role lets the user see them, and those
-- they were invited to. Those of `$2` alone, if that is set.
SELECT projects.id
FROM projects
JOIN organizations ON organizations.id = projects.organization_id
LEFT JOIN members ON members.organization_id = organizations.id AND members.user_id = $1
LEFT JOIN roles ON roles.id = members.role_id
LEFT JOIN project_members ON project_members.project_id = projects.id AND project_members.user_id = $1
WHERE projects.deleted_at IS NULL AND organizations.deleted_at IS NULL AND organizations.suspended_at IS NULL
    AND ($2::uuid IS NULL OR projects.organization_id = $2)
    AND (members.role IS NOT NULL OR 'projects.read' = ANY (roles.permissions) OR project_members.user_id IS NOT NULL)
ORDER BY projects.id
LIMIT 1000
