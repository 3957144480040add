-- name: found
-- Roles of ours in branches that are awake. What was made a moment ago may be a seller's of whom nobody has read yet.
SELECT branch_id, database_roles.name FROM database_roles JOIN branches ON branches.id = branch_id
WHERE database_roles.name ^@ 'farebox_sells_' AND database_roles.created_at < now() - $1::interval
    AND branches.deleted_at IS NULL AND branches.state = 'ready' AND EXISTS (
        SELECT FROM endpoints
        WHERE endpoints.branch_id = branches.id AND endpoints.deleted_at IS NULL AND endpoints.status = 'active')
ORDER BY branch_id, database_roles.name LIMIT 1000

-- name: sellers
-- Of those that were saved or deleted a moment ago gateways may not have heard: they are left alone.
SELECT id, organization_id, database_sealed, updated_at > now() - $1::interval AS is_fresh FROM publishers
WHERE database_sealed IS NOT NULL AND (deleted_at IS NULL OR deleted_at > now() - $1::interval)

-- What follows runs in a branch's server, as its superuser, or is text for it to run.

-- name: owns
-- Nothing should be a seller's; if it is, it is somebody's data.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_shdepend JOIN pg_catalog.pg_roles ON pg_roles.oid = refobjid
    WHERE refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND deptype = 'o' AND rolname = $1)

-- name: end_sessions
SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usename = $1

-- name: write_disown
SELECT pg_catalog.format('DROP OWNED BY %I', $1::text)

-- name: write_drop
SELECT pg_catalog.format('DROP ROLE IF EXISTS %I', $1::text)
