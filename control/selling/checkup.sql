-- name: sellers
-- Publishers whose queries are sold, those whose calls are served.
SELECT id, organization_id, slug, database_sealed FROM publishers
WHERE deleted_at IS NULL AND suspended_at IS NULL AND is_active AND database_sealed IS NOT NULL
ORDER BY id LIMIT 100
