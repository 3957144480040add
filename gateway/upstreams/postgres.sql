-- name: role
-- Takes the transaction's snapshot too: from here on it cannot be made to write.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_roles
    WHERE (rolsuper OR rolreplication OR rolname IN ('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files',
        'pg_write_server_files', 'pg_execute_server_program', 'pg_signal_backend', 'pg_monitor',
        'pg_read_all_settings', 'pg_read_all_stats'))
        AND pg_catalog.pg_has_role(session_user, oid, 'MEMBER')
) AS is_powerful,
    pg_catalog.current_setting('track_activities')::boolean AS is_watched
