-- name: find_standing
-- Membership is asked for, not remembered: whoever leaves an organization leaves their keys powerless.
SELECT organizations.id AS organization_id, members.role, roles.permissions AS custom, NULL AS project_role,
    organizations.suspended_at IS NOT NULL AS is_suspended
FROM members
JOIN organizations ON organizations.id = members.organization_id
LEFT JOIN roles ON roles.id = members.role_id
WHERE members.organization_id = $1 AND members.user_id = $2 AND organizations.deleted_at IS NULL

-- name: find_standing_in_project
-- Whoever is in the organization is in its projects; others are in the projects that they were invited to.
SELECT organizations.id AS organization_id, members.role, roles.permissions AS custom,
    project_members.role AS project_role, organizations.suspended_at IS NOT NULL AS is_suspended
FROM projects
JOIN organizations ON organizations.id = projects.organization_id
LEFT JOIN members ON members.organization_id = organizations.id AND members.user_id = $2
LEFT JOIN roles ON roles.id = members.role_id
LEFT JOIN project_members ON project_members.project_id = projects.id AND project_members.user_id = $2
WHERE projects.id = $1 AND projects.deleted_at IS NULL AND organizations.deleted_at IS NULL
    AND (members.user_id IS NOT NULL OR project_members.user_id IS NOT NULL)
