-- name: found
-- Where a branch is, if it still belongs to whoever sells it.
SELECT endpoints.id AS endpoint_id, endpoints.status, branches.timeline_id
FROM branches
JOIN projects ON projects.id = branches.project_id AND projects.deleted_at IS NULL
LEFT JOIN endpoints ON endpoints.branch_id = branches.id AND endpoints.deleted_at IS NULL
    AND endpoint_type = 'read_write' AND NOT is_disabled
WHERE branches.id = $1 AND projects.organization_id = $2 AND branches.deleted_at IS NULL

-- What follows runs in the branch's server, as its superuser.

-- name: alone
-- Until the transaction ends: grants on one table at once, of whichever roles, are an error.
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('farebox_sells', 0))

-- name: has_role
SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1)

-- name: make_role
SELECT pg_catalog.format('CREATE ROLE %I', $1::text)

-- name: role
-- Text for the server to run. Callers do not see each other's statements.
SELECT pg_catalog.format(
    'ALTER ROLE %1$I LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 100 '
    'PASSWORD %2$L; ALTER ROLE %1$I SET track_activities = off; DROP OWNED BY %1$I; GRANT CONNECT ON DATABASE %3$I TO %1$I',
    $1::text, $2::text, $3::text)

-- name: grants
-- Of the tables that are sold and there. What belongs to a superuser, as an extension's does, is not the branch's to sell.
SELECT pg_catalog.format('GRANT USAGE ON SCHEMA %1$I TO %3$I; GRANT SELECT ON TABLE %1$I.%2$I TO %3$I',
    nspname, relname, $1::text)
FROM pg_catalog.pg_class
JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace
JOIN pg_catalog.pg_roles ON pg_roles.oid = relowner
WHERE nspname || '.' || relname = ANY($2::text[]) AND relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT rolsuper
    AND nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
ORDER BY 1
