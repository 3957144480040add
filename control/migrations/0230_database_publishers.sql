-- Publishers that sell queries of a PostgreSQL of their own.

-- The connection string, sealed like auth_sealed; null for a publisher that is asked over HTTP.
ALTER TABLE publishers ADD COLUMN database_sealed bytea;
