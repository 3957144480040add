-- name: way
-- Where a branch is connected to: by its endpoint, or the one that is asked for.
SELECT endpoints.id, endpoints.label, endpoints.branch_id FROM endpoints JOIN branches ON branches.id = branch_id
WHERE endpoints.project_id = $1 AND branch_id = $2 AND ($3::uuid IS NULL OR endpoints.id = $3)
    AND endpoints.deleted_at IS NULL AND branches.deleted_at IS NULL
ORDER BY endpoint_type DESC, endpoints.id LIMIT 1

-- name: role
-- The one that is asked for, else the owner.
SELECT id, name, password FROM database_roles
WHERE branch_id = $1 AND ($2::text IS NULL AND is_protected OR name = $2)
ORDER BY id LIMIT 1

-- name: database
-- The one that is asked for, else the oldest. Ids do not tell, as those of a copy are made in one go.
SELECT name FROM databases WHERE branch_id = $1 AND ($2::text IS NULL OR name = $2) ORDER BY number LIMIT 1
