-- name: backup_start
SELECT pg_backup_start('farebox', fast => true)::text

-- name: backup_stop
SELECT lsn::text, labelfile
FROM pg_backup_stop(wait_for_archive => false)

-- name: flush
SELECT pg_logical_emit_message(true, 'farebox', 'head', true)

-- name: subscriptions
SELECT d.datname, s.subname
FROM pg_subscription AS s
JOIN pg_database AS d ON d.oid = s.subdbid

-- name: written
-- Whatever a session may have read as the present position, flushed or not.
SELECT pg_current_wal_insert_lsn()::text

-- name: head
SELECT pg_current_wal_flush_lsn()::text
