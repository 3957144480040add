-- Rows of Postgres roles, and the statements that make them inside a branch's databases.

-- name: insert
INSERT INTO database_roles (id, branch_id, name, verifier, password, is_protected)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (branch_id, name) DO NOTHING
RETURNING id, branch_id, name, verifier, password, is_protected, created_at, updated_at

-- name: index
-- Ours, by which publishers sell queries, are nobody's to change.
SELECT id, branch_id, name, verifier, password, is_protected, created_at, updated_at
FROM database_roles WHERE branch_id = $1 AND NOT name ^@ 'farebox_' ORDER BY name

-- name: count
SELECT count(*) FROM database_roles WHERE branch_id = $1

-- name: find
-- A name may look like an id, of another role even.
SELECT id, branch_id, name, verifier, password, is_protected, created_at, updated_at
FROM database_roles WHERE branch_id = $1 AND (id = $2 OR name = $3) AND NOT name ^@ 'farebox_'
ORDER BY id = $2 DESC LIMIT 1

-- name: owner
SELECT name FROM database_roles WHERE branch_id = $1 AND is_protected ORDER BY id LIMIT 1

-- name: set_secret
UPDATE database_roles SET verifier = $2, password = $3, updated_at = now() WHERE id = $1

-- name: delete
DELETE FROM database_roles WHERE id = $1

-- name: sealed_ids
SELECT id FROM database_roles WHERE password IS NOT NULL ORDER BY id

-- name: lock_sealed
SELECT password, project_id FROM database_roles JOIN branches ON branches.id = branch_id
WHERE database_roles.id = $1 AND password IS NOT NULL
FOR UPDATE OF database_roles

-- name: replace_sealed
UPDATE database_roles SET password = $2 WHERE id = $1

-- name: write_create
-- Inside, as are all that follow: these are the statements' text.
SELECT pg_catalog.format('CREATE ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)

-- name: write_grant
-- So that the owner can alter and drop it, grant it things, and reach what it makes, by SQL.
SELECT pg_catalog.format('GRANT %I TO %I WITH ADMIN TRUE, INHERIT TRUE, SET TRUE', $1::text, $2::text)

-- name: write_password
SELECT pg_catalog.format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)

-- name: write_drop
SELECT pg_catalog.format('DROP ROLE IF EXISTS %I', $1::text)

-- name: oid
SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1

-- name: end_sessions
SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usesysid = $1

-- name: owned_databases
SELECT datname FROM pg_catalog.pg_database WHERE pg_catalog.pg_get_userbyid(datdba) = $1 ORDER BY datname LIMIT 20
