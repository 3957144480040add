-- All of it runs in the servers of branches, as their superuser.

-- name: dropping
-- Nobody can connect to what is left of a database whose dropping was interrupted, and its files are still there.
SELECT datname AS name, format('DROP DATABASE %I', datname) AS statement FROM pg_database WHERE datconnlimit = -2

-- name: opening
SELECT datname AS name, format('ALTER DATABASE %I ALLOW_CONNECTIONS true', datname) AS statement
FROM pg_database WHERE NOT datallowconn AND datname <> 'template0'

-- name: closing
SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS false', $1::text)

-- name: databases
-- Templates too: whose databases those are may mark them so.
SELECT datname FROM pg_database WHERE datname <> 'template0'

-- name: silence
-- No trigger of the tenant's runs, but for those that say so.
SELECT set_config('session_replication_role', 'replica', true)

-- name: triggers
-- Those that would fire nevertheless: `A` always does, and `R` for replicas.
SELECT format('ALTER TABLE %I.%I DISABLE TRIGGER %I', nspname, relname, tgname) AS disable,
    format('ALTER TABLE %I.%I ENABLE %s TRIGGER %I', nspname, relname, CASE tgenabled WHEN 'A' THEN 'ALWAYS' ELSE 'REPLICA' END,
        tgname) AS enable
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE tgenabled IN ('A', 'R') AND (tgtype & 32) <> 0 AND relpersistence <> 't' AND NOT tgisinternal

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
