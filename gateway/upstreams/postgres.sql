-- name: begin
-- The server stops what takes too long also when nobody is there to ask it. What a caller's statement changes
-- of this ends with the session, which is its only one.
BEGIN TRANSACTION READ ONLY;
SET LOCAL statement_timeout = $1;
SET LOCAL lock_timeout = 1000;
SET LOCAL idle_in_transaction_session_timeout = 10000;
SET LOCAL datestyle = 'ISO, YMD';
SET LOCAL intervalstyle = 'iso_8601';
SET LOCAL timezone = 'UTC';
SET LOCAL bytea_output = 'hex';
SET LOCAL extra_float_digits = 1;
SET LOCAL jit = off;
-- Takes the transaction's snapshot too: from here on it cannot be made to write.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_roles
    WHERE (rolsuper OR rolreplication OR rolname IN ('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files',
        'pg_write_server_files', 'pg_execute_server_program', 'pg_signal_backend', 'pg_monitor',
        'pg_read_all_settings', 'pg_read_all_stats'))
        AND pg_catalog.pg_has_role(session_user, oid, 'MEMBER')
) AS is_powerful,
    pg_catalog.current_setting('track_activities')::boolean AS is_watched
