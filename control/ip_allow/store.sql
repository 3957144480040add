-- name: index
SELECT id, project_id, ip_address::text, description, created_by, created_at, updated_at
FROM ip_allow WHERE project_id = $1 ORDER BY ip_allow.ip_address

-- name: count
SELECT count(*) FROM ip_allow WHERE project_id = $1

-- name: lock
-- One change of a project's list at a time, so that it stays as long as it may be.
SELECT FROM projects WHERE id = $1 FOR NO KEY UPDATE

-- name: insert
INSERT INTO ip_allow (id, project_id, ip_address, description, created_by)
VALUES ($1, $2, $3::text::cidr, $4, $5)
ON CONFLICT (project_id, ip_address) DO NOTHING
RETURNING id, project_id, ip_address::text, description, created_by, created_at, updated_at

-- name: keep
-- Of a list that is replaced: what is in both stays the entry it was.
DELETE FROM ip_allow WHERE project_id = $1 AND NOT ip_address = ANY ($2::text[]::cidr[])

-- name: put
INSERT INTO ip_allow (id, project_id, ip_address, description, created_by)
SELECT id, $1, ip_address::cidr, description, $2
FROM unnest($3::uuid[], $4::text[], $5::text[]) AS wanted (id, ip_address, description)
ON CONFLICT (project_id, ip_address) DO UPDATE SET description = excluded.description, updated_at = now()
WHERE ip_allow.description IS DISTINCT FROM excluded.description

-- name: delete
DELETE FROM ip_allow WHERE project_id = $1 AND id = $2 RETURNING id
