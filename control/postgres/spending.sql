-- name: owners
-- Whoever has something running now.
SELECT DISTINCT projects.organization_id FROM endpoints JOIN projects ON projects.id = endpoints.project_id
WHERE endpoints.status IN ('active', 'starting') ORDER BY 1

-- name: running
-- Not under an operation, which would only start it again: that is over soon, and so is the next look.
SELECT endpoints.id, endpoints.project_id FROM endpoints JOIN projects ON projects.id = endpoints.project_id
WHERE projects.organization_id = $1 AND endpoints.status IN ('active', 'starting') AND NOT EXISTS (
    SELECT FROM operations WHERE operations.branch_id = endpoints.branch_id AND operations.status = 'running')
ORDER BY endpoints.id
