-- Rows of replication slots, as they were last seen, and what makes them inside.

-- name: index
SELECT id, name, plugin, slot_type, database, status, active_pid, restart_lsn::text, confirmed_flush_lsn::text,
    created_at, updated_at
FROM replication_slots WHERE branch_id = $1 ORDER BY created_at, name

-- name: find
SELECT id, name, plugin, slot_type, database, status, active_pid, restart_lsn::text, confirmed_flush_lsn::text,
    created_at, updated_at
FROM replication_slots WHERE branch_id = $1 AND id = $2

-- name: put
INSERT INTO replication_slots (id, branch_id, name, plugin, slot_type, database, status, active_pid, restart_lsn,
    confirmed_flush_lsn)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::pg_lsn, $10::text::pg_lsn)
ON CONFLICT (branch_id, name) DO UPDATE
SET plugin = excluded.plugin, slot_type = excluded.slot_type, database = excluded.database,
    status = excluded.status, active_pid = excluded.active_pid, restart_lsn = excluded.restart_lsn,
    confirmed_flush_lsn = excluded.confirmed_flush_lsn, updated_at = now()
WHERE (replication_slots.plugin, replication_slots.slot_type, replication_slots.database, replication_slots.status,
        replication_slots.active_pid, replication_slots.restart_lsn, replication_slots.confirmed_flush_lsn)
    IS DISTINCT FROM (excluded.plugin, excluded.slot_type, excluded.database, excluded.status,
        excluded.active_pid, excluded.restart_lsn, excluded.confirmed_flush_lsn)

-- name: delete
DELETE FROM replication_slots WHERE id = $1

-- name: forget
-- Slots that Postgres does not have any more.
DELETE FROM replication_slots WHERE branch_id = $1 AND NOT name = ANY ($2::text[])

-- name: counts
SELECT
    (
        SELECT count(*) FROM publications JOIN branches ON branches.id = branch_id
        WHERE project_id = $1 AND deleted_at IS NULL
    ) AS publications_count,
    (
        SELECT count(*) FROM replication_slots JOIN branches ON branches.id = branch_id
        WHERE project_id = $1 AND deleted_at IS NULL
    ) AS slots_count

-- name: logical_of_project
-- With one left, Postgres does not start with less in its log.
SELECT replication_slots.name, branches.name AS branch_name
FROM replication_slots JOIN branches ON branches.id = branch_id
WHERE project_id = $1 AND deleted_at IS NULL AND slot_type = 'logical'
ORDER BY branches.name, replication_slots.name

-- name: is_enabled
-- Stays so until the transaction ends.
SELECT enable_logical_replication FROM projects WHERE id = $1 FOR SHARE

-- name: observed
-- Inside. Those of one session end with it.
SELECT slot_name AS name, coalesce(plugin, '') AS plugin, slot_type, database,
    CASE WHEN active THEN 'active' WHEN wal_status = 'lost' THEN 'lost' ELSE 'inactive' END AS status, active_pid,
    restart_lsn::text, confirmed_flush_lsn::text
FROM pg_catalog.pg_replication_slots WHERE NOT temporary ORDER BY slot_name LIMIT 1000

-- name: create_logical
-- Inside, in the database that it reads.
SELECT lsn::text FROM pg_catalog.pg_create_logical_replication_slot($1::text::name, $2::text::name)

-- name: create_physical
-- It keeps the log from now on, and not only when its reader has come.
SELECT lsn::text FROM pg_catalog.pg_create_physical_replication_slot($1::text::name, true)

-- name: drop
SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots
WHERE slot_name = $1::text::name
