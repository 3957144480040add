-- name: every
SELECT invites.id, invites.organization_id, email, coalesce(role, roles.name, 'deleted') AS role,
    CASE WHEN role_id IS NULL THEN role END AS built_in, roles.permissions AS custom,
    invited_by, expires_at, invites.created_at, accepted_at, revoked_at
FROM invites LEFT JOIN roles ON roles.id = role_id
WHERE invites.organization_id = $1 AND project_id IS NOT DISTINCT FROM $2
ORDER BY invites.id DESC
LIMIT 500

-- name: mine
-- A person has proved their address; an agent's only says where its owner is.
SELECT invites.id, project_id, invites.role, invited_by, expires_at
FROM invites
JOIN users ON users.id = $1 AND users.kind = 'person' AND lower(users.email) = invites.email
JOIN projects ON projects.id = invites.project_id AND projects.deleted_at IS NULL
WHERE accepted_at IS NULL AND revoked_at IS NULL AND expires_at > now()
ORDER BY invites.id DESC
LIMIT 500

-- name: names
SELECT users.name AS inviter, coalesce(projects.name, organizations.name) AS what
FROM users CROSS JOIN organizations LEFT JOIN projects ON projects.id = $3
WHERE users.id = $1 AND organizations.id = $2

-- name: member_with
-- Of the organization, or of the one project. Only a person has proved that an address is theirs.
SELECT name FROM users
WHERE kind = 'person' AND lower(email) = $3 AND CASE WHEN $2::uuid IS NULL
    THEN EXISTS (SELECT FROM members WHERE organization_id = $1 AND user_id = users.id)
    ELSE EXISTS (SELECT FROM project_members WHERE project_id = $2 AND user_id = users.id) END
