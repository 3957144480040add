-- Rows of databases, and the statements that make them inside.

-- name: insert
INSERT INTO databases (id, branch_id, name, owner_name)
VALUES ($1, $2, $3, $4)
ON CONFLICT (branch_id, name) DO NOTHING
RETURNING id, branch_id, name, owner_name, created_at, updated_at

-- name: index
SELECT id, branch_id, name, owner_name, created_at, updated_at
FROM databases WHERE branch_id = $1 ORDER BY number

-- name: count
SELECT count(*) FROM databases WHERE branch_id = $1

-- name: find
-- A name may look like an id, of another database even.
SELECT id, branch_id, name, owner_name, created_at, updated_at
FROM databases WHERE branch_id = $1 AND (id = $2 OR name = $3)
ORDER BY id = $2 DESC LIMIT 1

-- name: named
SELECT name FROM databases WHERE branch_id = $1 AND ($2::text IS NULL OR name = $2) ORDER BY number LIMIT 1

-- name: of_projects
SELECT databases.id, databases.name, owner_name, project_id, projects.name AS project_name, branch_id,
    branches.name AS branch_name, is_default AS is_default_branch, databases.created_at
FROM databases
JOIN branches ON branches.id = branch_id
JOIN projects ON projects.id = project_id
WHERE project_id = ANY ($1::uuid[]) AND branches.deleted_at IS NULL AND projects.deleted_at IS NULL
ORDER BY project_id, NOT is_default, branch_id, databases.number
LIMIT 10000

-- name: set_owner
UPDATE databases SET owner_name = $2, updated_at = now() WHERE id = $1
RETURNING id, branch_id, name, owner_name, created_at, updated_at

-- name: delete
DELETE FROM databases WHERE id = $1

-- name: write_create
-- Inside, as are all that follow: these are the statements' text.
SELECT pg_catalog.format('CREATE DATABASE %I OWNER %I', $1::text, $2::text)

-- name: write_owner
SELECT pg_catalog.format('ALTER DATABASE %I OWNER TO %I', $1::text, $2::text)

-- name: write_drop
SELECT pg_catalog.format('DROP DATABASE IF EXISTS %I WITH (FORCE)', $1::text)
