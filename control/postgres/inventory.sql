-- name: insert_role
INSERT INTO database_roles (id, branch_id, name, verifier, password, is_protected) VALUES ($1, $2, $3, $4, $5, $6)

-- name: insert_database
INSERT INTO databases (id, branch_id, name, owner_name) VALUES ($1, $2, $3, $4)

-- name: rows_of_roles
SELECT id, name, verifier, password, is_protected FROM database_roles WHERE branch_id = $1 ORDER BY id

-- name: rows_of_databases
SELECT name, owner_name FROM databases WHERE branch_id = $1 ORDER BY number

-- name: put_roles
-- A password that we know is that of the verifier beside it, or it is forgotten.
INSERT INTO database_roles (id, branch_id, name, verifier)
SELECT id, $1, name, verifier FROM unnest($2::uuid[], $3::text[], $4::text[]) AS found (id, name, verifier)
ON CONFLICT (branch_id, name) DO UPDATE SET verifier = EXCLUDED.verifier,
    password = CASE WHEN database_roles.verifier = EXCLUDED.verifier THEN database_roles.password END, updated_at = now()
WHERE database_roles.verifier IS DISTINCT FROM EXCLUDED.verifier

-- name: drop_roles
DELETE FROM database_roles WHERE branch_id = $1 AND name <> ALL ($2)

-- name: clear_roles
DELETE FROM database_roles WHERE branch_id = $1

-- name: clear_slots
DELETE FROM replication_slots WHERE branch_id = $1

-- name: clear_publications
DELETE FROM publications WHERE branch_id = $1

-- name: put_databases
INSERT INTO databases (id, branch_id, name, owner_name)
SELECT id, $1, name, owner_name
FROM unnest($2::uuid[], $3::text[], $4::text[]) WITH ORDINALITY AS found (id, name, owner_name, place)
ORDER BY place
ON CONFLICT (branch_id, name) DO UPDATE SET owner_name = EXCLUDED.owner_name, updated_at = now()
WHERE databases.owner_name IS DISTINCT FROM EXCLUDED.owner_name

-- name: drop_databases
DELETE FROM databases WHERE branch_id = $1 AND name <> ALL ($2)

-- name: databases_inside
SELECT namesend(datname) AS name, namesend(pg_get_userbyid(datdba)) AS owner_name FROM pg_database
WHERE NOT datistemplate AND datname <> 'postgres' AND datallowconn
ORDER BY oid LIMIT 1000

-- name: alter_password
SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)
