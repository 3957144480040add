-- name: find
SELECT endpoints.id, endpoints.label, endpoints.branch_id, branches.timeline_id, endpoints.is_disabled,
    endpoints.pooler_enabled, endpoints.pooler_mode, projects.block_public_connections,
    projects.id AS project_id,
    CASE WHEN projects.protected_branches_only AND NOT branches.is_protected THEN '{}'
        ELSE ARRAY(SELECT ip_address::text FROM ip_allow WHERE ip_allow.project_id = projects.id) END AS allowed
FROM endpoints
JOIN branches ON branches.id = endpoints.branch_id AND branches.deleted_at IS NULL
JOIN projects ON projects.id = endpoints.project_id AND projects.deleted_at IS NULL
WHERE endpoints.label = $1 AND endpoints.deleted_at IS NULL

-- name: verifier
SELECT verifier FROM database_roles WHERE branch_id = $1 AND name = $2

-- name: is_active
SELECT status = 'active' FROM endpoints WHERE id = $1

-- name: asleep
-- Whose it is that would be woken. One that runs goes on, whoever comes.
SELECT organization_id FROM endpoints JOIN projects ON projects.id = project_id
WHERE endpoints.id = $1 AND endpoints.status <> 'active'
