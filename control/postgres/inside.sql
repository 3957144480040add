-- Runs in a project's database, as its superuser.

-- name: careful
-- Whoever owns a database chooses its settings, for us too: a search path with their functions on it, a role, a
-- millisecond for each statement. Every name here is written out for that reason.
SELECT pg_catalog.set_config('role', 'none', false), pg_catalog.set_config('search_path', 'pg_catalog', false),
    pg_catalog.set_config('statement_timeout', '10s', false), pg_catalog.set_config('lock_timeout', '3s', false),
    pg_catalog.set_config('default_transaction_isolation', 'read committed', false),
    pg_catalog.set_config('default_tablespace', '', false), pg_catalog.set_config('row_security', 'on', false)
