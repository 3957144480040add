-- All of it runs in the servers of branches, as their superuser.

-- name: databases
SELECT datname FROM pg_database WHERE NOT datistemplate AND datallowconn

-- name: silence
-- No trigger of the tenant's runs.
SELECT set_config('session_replication_role', 'replica', true)

-- name: tables
SELECT string_agg(format('%I.%I', nspname, relname), ', ') FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE relkind IN ('r', 'p') AND relpersistence <> 't' AND nspname <> 'information_schema' AND nspname !~ '^pg_'
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')

-- name: views
SELECT format('REFRESH MATERIALIZED VIEW %I.%I WITH NO DATA', nspname, relname) AS statement
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE relkind = 'm' AND nspname !~ '^pg_'

-- name: forget
-- What was learnt about the data has samples of it.
DELETE FROM pg_statistic

-- name: forget_more
DELETE FROM pg_statistic_ext_data

-- name: objects
SELECT count(lo_unlink(oid)) FROM pg_largeobject_metadata
