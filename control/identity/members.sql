-- name: lock
SELECT FROM organizations WHERE id = $1 FOR UPDATE

-- name: set_role
UPDATE members SET role = $3, role_id = $4
WHERE organization_id = $1 AND user_id = $2
    AND (role IS DISTINCT FROM 'owner' OR $3::text = 'owner' OR EXISTS (
        SELECT FROM members AS others
        WHERE others.organization_id = $1 AND others.role = 'owner' AND others.user_id <> $2
    ))
RETURNING user_id

-- name: remove
DELETE FROM members
WHERE organization_id = $1 AND user_id = $2
    AND (role IS DISTINCT FROM 'owner' OR EXISTS (
        SELECT FROM members AS others
        WHERE others.organization_id = $1 AND others.role = 'owner' AND others.user_id <> $2
    ))
RETURNING user_id

-- name: is_member
SELECT EXISTS (SELECT FROM members WHERE organization_id = $1 AND user_id = $2)

-- name: add_owner
INSERT INTO members (organization_id, user_id, role) VALUES ($1, $2, 'owner')

-- name: set_project_role
UPDATE project_members SET role = $3 WHERE project_id = $1 AND user_id = $2 RETURNING user_id

-- name: remove_from_project
DELETE FROM project_members WHERE project_id = $1 AND user_id = $2 RETURNING user_id
