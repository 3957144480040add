-- name: index
SELECT branch_protections.id, branches.project_id, branch_id, prevent_deletion, prevent_reset,
    require_approval_for_changes, allowed_bypass_roles, branch_protections.created_at, branch_protections.updated_at
FROM branch_protections JOIN branches ON branches.id = branch_id
WHERE branches.project_id = $1 AND ($2::uuid IS NULL OR branch_id = $2) AND branches.deleted_at IS NULL
ORDER BY branch_protections.id

-- name: insert
WITH marked AS (
    UPDATE branches SET is_protected = true, updated_at = now() WHERE id = $2
)
INSERT INTO branch_protections (id, branch_id, prevent_deletion, prevent_reset, require_approval_for_changes,
    allowed_bypass_roles)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (branch_id) DO NOTHING
RETURNING id

-- name: change
UPDATE branch_protections SET prevent_deletion = coalesce($2, prevent_deletion), prevent_reset = coalesce($3, prevent_reset),
    require_approval_for_changes = coalesce($4, require_approval_for_changes),
    allowed_bypass_roles = coalesce($5, allowed_bypass_roles), updated_at = now()
WHERE branch_id = $1
RETURNING id

-- name: delete
WITH gone AS (
    DELETE FROM branch_protections WHERE branch_id = $1 RETURNING branch_id
)
UPDATE branches SET is_protected = false, updated_at = now() FROM gone WHERE id = gone.branch_id
RETURNING id

-- name: role_of
-- In the organization of the project; the name of a custom role, or what a built-in one is called.
SELECT coalesce(members.role, roles.name, project_members.role) FROM projects
LEFT JOIN members ON members.organization_id = projects.organization_id AND members.user_id = $2
LEFT JOIN roles ON roles.id = members.role_id
LEFT JOIN project_members ON project_members.project_id = projects.id AND project_members.user_id = $2
WHERE projects.id = $1
