-- The lock ends with the transaction, so this works behind a pooler that gives each transaction another session.
-- name: lock
SELECT pg_advisory_xact_lock(7226312848137431)

-- After the lock is held: runners wait for each other as long as it takes, but never long for a busy table,
-- because everybody who comes after them would wait too.
-- name: hurry
SET LOCAL lock_timeout = '5s'

-- name: create
CREATE TABLE IF NOT EXISTS schema_migrations (
    name       text PRIMARY KEY,
    sha256     bytea NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)

-- name: exists
SELECT to_regclass('schema_migrations') IS NOT NULL

-- name: applied
SELECT name, sha256 FROM schema_migrations ORDER BY name

-- name: record
INSERT INTO schema_migrations (name, sha256) VALUES ($1, $2)
