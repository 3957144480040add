-- name: sample
SELECT backend_type, state, pid
FROM pg_stat_activity
WHERE pid <> pg_backend_pid()
  AND application_name NOT IN ('farebox', 'pg_basebackup')
  AND (
    backend_type IN ('walsender', 'autovacuum worker', 'logical replication apply worker',
                     'logical replication tablesync worker', 'logical replication parallel worker')
    OR (backend_type = 'client backend'
        AND (state IS DISTINCT FROM 'idle' OR state_change > clock_timestamp() - make_interval(secs => $1)))
  )
ORDER BY pid
