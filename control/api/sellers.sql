-- name: by_slug
SELECT id, organization_id, slug, name, is_first_party, suspended_at IS NOT NULL AS is_suspended
FROM publishers WHERE slug = $1 AND deleted_at IS NULL
