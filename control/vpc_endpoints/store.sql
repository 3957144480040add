-- name: index
SELECT id, organization_id, region, endpoint_id, label, state, created_at, updated_at
FROM vpc_endpoints WHERE organization_id = $1 AND ($2::text IS NULL OR region = $2) ORDER BY id

-- name: find
SELECT id, organization_id, region, endpoint_id, label, state, created_at, updated_at
FROM vpc_endpoints WHERE organization_id = $1 AND id = $2 AND ($3::text IS NULL OR region = $3)

-- name: insert
-- As many as there may be, and the organization waits for whoever adds one at the same time.
INSERT INTO vpc_endpoints (id, organization_id, region, endpoint_id, label)
SELECT $1, locked.id, $3, $4, $5 FROM (SELECT id FROM organizations WHERE id = $2 FOR NO KEY UPDATE) AS locked
ON CONFLICT (organization_id, region, endpoint_id) DO NOTHING
RETURNING id, organization_id, region, endpoint_id, label, state, created_at, updated_at

-- name: count
SELECT count(*) FROM vpc_endpoints WHERE organization_id = $1

-- name: delete
DELETE FROM vpc_endpoints WHERE organization_id = $1 AND id = $2 AND ($3::text IS NULL OR region = $3) RETURNING id

-- name: assignments
-- A project that moved to another organization leaves the endpoints of the one before behind.
SELECT project_vpc_endpoints.id, project_id, vpc_endpoint_id AS organization_vpc_endpoint_id, endpoint_id,
    vpc_endpoints.label AS endpoint_label, vpc_endpoints.region, project_vpc_endpoints.label, project_vpc_endpoints.created_at,
    project_vpc_endpoints.updated_at
FROM project_vpc_endpoints
JOIN projects ON projects.id = project_id
JOIN vpc_endpoints ON vpc_endpoints.id = vpc_endpoint_id AND vpc_endpoints.organization_id = projects.organization_id
WHERE project_id = $1 AND ($2::uuid IS NULL OR project_vpc_endpoints.id = $2)
ORDER BY project_vpc_endpoints.id

-- name: assign
-- One of the organization that the project is in.
INSERT INTO project_vpc_endpoints (id, project_id, vpc_endpoint_id, label)
SELECT $1, projects.id, vpc_endpoints.id, $4
FROM projects JOIN vpc_endpoints ON vpc_endpoints.organization_id = projects.organization_id
WHERE projects.id = $2 AND vpc_endpoints.id = $3
ON CONFLICT (project_id, vpc_endpoint_id) DO NOTHING
RETURNING id

-- name: unassign
DELETE FROM project_vpc_endpoints WHERE project_id = $1 AND (id = $2 OR vpc_endpoint_id = $3) RETURNING id
