-- name: claim
INSERT INTO resources (publisher_id, resource_id, organization_id) VALUES ($1, $2, $3)
ON CONFLICT (publisher_id, resource_id) DO NOTHING

-- name: is_owner
SELECT EXISTS (
    SELECT FROM resources WHERE publisher_id = $1 AND resource_id = $2 AND organization_id = $3
)
